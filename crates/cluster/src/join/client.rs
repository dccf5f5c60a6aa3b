//! The joiner's side: from a token to an identity on disk.

use crate::authority::{NodeKey, fingerprint_of_pem};
use crate::certificate::blocks;
use crate::error::code;
use crate::identity::{Transport, forget_joining_key, joining_key, joining_mark, refuse_member};
use crate::keyring::utc;
use crate::messages::{CLOCK, Clock, FORM, JoinAnswer, JoinRequest, MemberAddress, REDEEM, decode, encode};
use crate::names::check_address;
use crate::{ClusterError, ClusterId, Credentials, NodeIdentity, NodeName, NodeRecord, Token};
use base::{Fault, NodeId};
use bytes::Bytes;
use rpc::{ConnectError, Fingerprint, Mesh, StrangerConnection, StrangerIdentity};
use rt::time::Instant;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long one member may take to connect and to answer.
const CONNECT_MAX: Duration = Duration::from_secs(2);
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The wait after a round in which every member said "later".
const ROUND_PAUSE: Duration = Duration::from_millis(200);

/// As what a machine joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinAs {
    /// Its name.
    pub name: NodeName,
    /// Where other nodes reach it, `host:port`.
    pub address: String,
    /// Where dqlite clients reach it.
    pub dqlite_address: String,
    /// Where clients of the HTTPS API reach it.
    pub https_address: String,
    /// The version of its daemon.
    pub version: String,
    /// It votes at most, and keeps no data but `sys`.
    pub witness: bool,
}

impl JoinAs {
    pub(crate) fn check(&self) -> Result<(), ClusterError> {
        // What came over the wire was not made by `NodeName::new` on this side.
        NodeName::new(self.name.as_str())?;
        check_address(&self.address)?;
        if !self.dqlite_address.starts_with('@') {
            check_address(&self.dqlite_address)?;
        }
        check_address(&self.https_address)
    }
}

/// A machine that was let in, its identity on disk. It becomes a member once its daemon runs and says so.
#[derive(Debug, Clone)]
pub struct Joined {
    /// Who it is now.
    pub identity: NodeIdentity,
    /// The members that were there.
    pub members: Vec<MemberAddress>,
    /// Who led `sys`.
    pub leader: NodeId,
    /// How far this machine's clock is ahead of the leader's, in milliseconds, give or take the time the answer took.
    pub clock_ahead_ms: i64,
}

impl Joined {
    /// The certificate was made by the leader's clock. If it is not good by this machine's, neither would this machine's members be to it:
    /// nothing is written, and the same token lets the same machine in once its clock is set.
    fn refuse_a_clock_that_cannot_be(&self) -> Result<(), ClusterError> {
        let Some(validity) = self.identity.validity()? else { return Ok(()) };
        let here = Clock::now();
        if validity.contains(crate::sys::now()) {
            return Ok(());
        }
        let there = Clock { wall_ms: (here.wall_ms.cast_signed() - self.clock_ahead_ms).cast_unsigned(), ..here };
        Err(clock_is_wrong(here, there, "the cluster's leader"))
    }

    /// Tells the mesh where the members are: until `sys` has come over, nothing else does.
    pub fn introduce(&self, mesh: &Mesh) {
        for member in &self.members {
            mesh.set_address(member.node, &member.address);
        }
    }
}

/// Joins: redeems the token at one of the members that it names and writes the identity to `dir`.
///
/// `introduce` writes down where the members are. It is called, where it may block, before the identity is on disk: a machine
/// that is a member and does not know where the others are would never find them.
///
/// Tries every member, again and again until `deadline`, as long as the reason lets hope: no answer, or "later". May be dropped
/// or killed at any point and repeated with the same token: the key is on disk before anybody hears of it, and the same key
/// with the same token gets the same answer.
pub async fn join(
    dir: &Path,
    token: &Token,
    who: &JoinAs,
    transport: Transport,
    deadline: Duration,
    introduce: impl FnOnce(&[MemberAddress]) -> Result<(), ClusterError> + Send + 'static,
) -> Result<Joined, ClusterError> {
    who.check()?;
    let until = Instant::now() + deadline;
    let key = Key::prepare(dir, transport, who).await?;
    let request = JoinRequest {
        form: FORM,
        token: token.id.to_string(),
        secret: token.secret.clone(),
        who: who.clone(),
        request: key.request.clone(),
    };
    let body = encode(&request)?;
    let answer = match ask_all(token, &key.stranger, &body, until).await {
        Ok(answer) => answer,
        Err(error) => {
            if [code::NOT_MEMBER, code::KEY_IN_USE].contains(&error.code()) {
                // The cluster has closed the book on this key; the next attempt needs a new one.
                on_disk(dir, forget_joining_key).await?;
            }
            return Err(error);
        }
    };
    rt::sim_point!("join.before_save");
    let joined = key.accept(answer, token.ca, who, transport)?;
    joined.refuse_a_clock_that_cannot_be()?;
    // What the daemon would refuse at its start must not be written.
    joined.identity.check(dir)?;
    let (identity, members) = (joined.identity.clone(), joined.members.clone());
    on_disk(dir, move |dir| {
        refuse_member(dir)?;
        introduce(&members)?;
        rt::sim_point!("join.introduced");
        identity.save(dir)
    })
    .await?;
    rt::sim_point!("join.after_save");
    Ok(joined)
}

/// The machine's key and what is made from it.
struct Key {
    pem: String,
    stranger: StrangerIdentity,
    request: Vec<u8>,
}

impl Key {
    async fn prepare(dir: &Path, transport: Transport, who: &JoinAs) -> Result<Self, ClusterError> {
        if transport == Transport::Plain {
            let fingerprint = on_disk(dir, joining_mark).await?;
            let stranger = StrangerIdentity::Plain { fingerprint };
            return Ok(Self { pem: String::new(), stranger, request: Vec::new() });
        }
        let key: NodeKey = on_disk(dir, joining_key).await?;
        let (certificate, private) = key.self_signed()?;
        let stranger = StrangerIdentity::Tls { certificate, key: private };
        Ok(Self { pem: key.pem(), stranger, request: key.request(&who.name)? })
    }

    /// Checks the answer: it must come from the CA that the token pins and be for this key.
    fn accept(
        self,
        answer: JoinAnswer,
        ca: Fingerprint,
        who: &JoinAs,
        transport: Transport,
    ) -> Result<Joined, ClusterError> {
        let there = Clock { form: FORM, wall_ms: answer.wall_ms };
        let credentials = match transport {
            Transport::Plain => Credentials::Plain,
            Transport::Tls => {
                // While one CA takes the place of another there are two.
                if !blocks(&answer.ca).iter().any(|pem| fingerprint_of_pem(pem).is_ok_and(|found| found == ca)) {
                    return Err(ClusterError::Message { why: "the CA in the answer is not the token's".to_owned() });
                }
                let ca_key = Some(answer.ca_key).filter(|key| !key.is_empty());
                Credentials::Tls { ca: answer.ca, ca_key, certificate: answer.certificate, key: self.pem }
            }
        };
        let record = NodeRecord::new(answer.node, ClusterId::from_text(answer.cluster), transport, who);
        Ok(Joined {
            identity: NodeIdentity { record, credentials },
            members: answer.members,
            leader: answer.leader,
            clock_ahead_ms: Clock::now().ahead_of(there),
        })
    }
}

/// Asks one member after the other until one lets us in, one says no for good, or the time is over.
async fn ask_all(
    token: &Token,
    stranger: &StrangerIdentity,
    body: &Bytes,
    until: Instant,
) -> Result<JoinAnswer, ClusterError> {
    loop {
        let mut tried = Vec::new();
        let mut later = None;
        for address in &token.addresses {
            match ask(address, token.ca, stranger, body).await {
                Ok(answer) => return Ok(answer),
                Err(error) if !error.disposition().is_passing() => return Err(error),
                Err(ClusterError::Connect { address, error }) => tried.push(format!("{address}: {error}")),
                Err(error) => later = Some(error),
            }
        }
        if Instant::now() + ROUND_PAUSE >= until {
            return Err(later.unwrap_or(ClusterError::Unreachable { tried }));
        }
        rt::time::sleep(ROUND_PAUSE).await;
    }
}

async fn ask(
    address: &str,
    ca: Fingerprint,
    stranger: &StrangerIdentity,
    body: &Bytes,
) -> Result<JoinAnswer, ClusterError> {
    let connect = |error: ConnectError| ClusterError::Connect { address: address.to_owned(), error };
    let mut connection = match StrangerConnection::open(address, stranger, ca, CONNECT_MAX).await {
        Ok(connection) => connection,
        Err(error @ (ConnectError::NotYetValid { .. } | ConnectError::Expired { .. })) => {
            // By this machine's clock nobody there has a valid certificate. What do they say what time it is?
            let there = clock_of(address, ca, stranger).await;
            return Err(there.map_or_else(|| connect(error), |there| clock_is_wrong(Clock::now(), there, address)));
        }
        Err(error) => return Err(connect(error)),
    };
    let answer = connection.call(REDEEM, body.clone(), ANSWER_MAX).await.map_err(ClusterError::of_call)?;
    decode(&answer)
}

/// What the clock of a member says that this machine cannot trust, because one of the two clocks is wrong.
async fn clock_of(address: &str, ca: Fingerprint, stranger: &StrangerIdentity) -> Option<Clock> {
    let mut connection = StrangerConnection::open_whenever(address, stranger, ca, CONNECT_MAX).await.ok()?;
    let answer = connection.call(CLOCK, Bytes::new(), ANSWER_MAX).await.ok()?;
    decode(&answer).ok()
}

fn clock_is_wrong(here: Clock, there: Clock, whose: &str) -> ClusterError {
    let seconds = |clock: Clock| utc(i64::try_from(clock.wall_ms / 1_000).unwrap_or(i64::MAX));
    ClusterError::ClocksApart { here: seconds(here), there: seconds(there), whose: whose.to_owned() }
}

/// Does file work where it may block.
async fn on_disk<T: Send + 'static>(
    dir: &Path,
    work: impl FnOnce(&Path) -> Result<T, ClusterError> + Send + 'static,
) -> Result<T, ClusterError> {
    let dir: PathBuf = dir.to_owned();
    match rt::blocking::run({
        let dir = dir.clone();
        move || work(&dir)
    })
    .await
    {
        Ok(done) => done,
        Err(end) => Err(ClusterError::File { path: dir, error: std::io::Error::other(end.to_string()) }),
    }
}
