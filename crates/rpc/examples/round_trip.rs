//! How long a call takes on loopback, next to the same bytes over bare TCP: `cargo run --release -p rpc --example round_trip`.

use base::NodeId;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use lifecycle::Scope;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rpc::{Answer, Caller, Class, Handler, Handlers, Identity, Mesh, Service, TlsIdentity, node_name};
use rt::net::{Listener, Stream};
use rt::time::Instant;
use rustls::pki_types::PrivateKeyDer;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ROUNDS: u32 = 20_000;
const BODY_LEN: usize = 128;

struct Echo;

impl Handler for Echo {
    fn handle(&self, _: &Caller, _: u16, body: Bytes) -> BoxFuture<'static, Answer> {
        async move { Ok(body) }.boxed()
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "this is what the program is for")]
async fn main() -> Result<(), Box<dyn Error>> {
    let scope = Scope::new("round trip");
    let tcp = bare_tcp(&scope).await?;
    println!("bare TCP                {tcp:>9.1?}");
    for (name, identities) in [("plain", plain()), ("TLS", tls()?)] {
        let [a, b] = identities;
        let (a, b) = (Mesh::new(a, &scope)?, Mesh::new(b, &scope)?);
        let listener = Listener::bind("127.0.0.1:0").await?;
        a.set_address(b.node(), listener.local_addr().ok_or("no address")?.to_string());
        b.serve(listener, Handlers::new().with(Service::Raft, Arc::new(Echo)));
        let started = Instant::now();
        call(&a, b.node()).await?;
        println!("{name:5} first call        {:>9.1?}", started.elapsed());
        let started = Instant::now();
        for _ in 0..ROUNDS {
            call(&a, b.node()).await?;
        }
        let each = started.elapsed() / ROUNDS;
        println!("{name:5} call              {each:>9.1?}  {:>+7.1?} over bare TCP", each.saturating_sub(tcp));
        let started = Instant::now();
        for _ in 0..ROUNDS / 64 {
            for done in join_all((0..64).map(|_| call(&a, b.node()))).await {
                done?;
            }
        }
        println!("{name:5} call, 64 at once  {:>9.1?}", started.elapsed() / ROUNDS);
    }
    Ok(())
}

async fn call(mesh: &Mesh, to: NodeId) -> Result<Bytes, rpc::CallError> {
    let body = Bytes::from_static(&[7; BODY_LEN]);
    mesh.call(to, Service::Raft, 1, body, Duration::from_secs(5), Class::Control).await
}

async fn bare_tcp(scope: &Scope) -> Result<Duration, Box<dyn Error>> {
    let listener = Listener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr().ok_or("no address")?.to_string();
    let echo = async move {
        let mut stream = listener.accept().await?;
        let mut body = [0; BODY_LEN];
        loop {
            stream.read_exact(&mut body).await?;
            stream.write_all(&body).await?;
        }
    };
    drop(scope.spawn_droppable("echo", async move {
        let end: std::io::Result<()> = echo.await;
        end
    }));
    let mut stream = Stream::connect(&address).await?;
    let mut body = [7; BODY_LEN];
    let started = Instant::now();
    for _ in 0..ROUNDS {
        stream.write_all(&body).await?;
        stream.read_exact(&mut body).await?;
    }
    Ok(started.elapsed() / ROUNDS)
}

fn plain() -> [Identity; 2] {
    [1, 2].map(|node| Identity::Plain { node: NodeId(node) })
}

fn tls() -> Result<[Identity; 2], Box<dyn Error>> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let ca = params.self_signed(&key)?.der().clone();
    let issuer = Issuer::new(params, key);
    let identity = |node| -> Result<Identity, Box<dyn Error>> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([node_name(NodeId(node))])?;
        params.distinguished_name.push(rcgen::DnType::CommonName, "example");
        let chain = vec![params.signed_by(&key, &issuer)?.der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der())?;
        Ok(Identity::Tls(TlsIdentity { chain, key, roots: vec![ca.clone()] }))
    };
    Ok([identity(1)?, identity(2)?])
}
