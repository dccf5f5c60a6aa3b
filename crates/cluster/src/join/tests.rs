//! Joining over real TLS sockets, with a plain SQLite database in the place of `sys`.

use super::client::{JoinAs, join};
use super::desk::{Desk, ForStrangers};
use crate::authority::{NodeKey, fingerprint_of_pem};
use crate::messages::{Announce, FORM, MemberAddress, REDEEM_FOR, RENEW, RenewAnswer, RenewRequest, decode, encode};
use crate::node_rows::{self, NodeRow, NodeRowState};
use crate::sys::SysSql;
use crate::token::{Secret, Token, TokenId, TokenKind};
use crate::{ClusterError, Keyring, NODE_LIFE, NodeIdentity, NodeName, Transport, token_rows};
use base::{Fault, NodeId};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use lifecycle::Scope;
use rpc::{
    Answer, Caller, Fingerprint, Handler, Handlers, Mesh, Refusal, Service, StrangerConnection, StrangerIdentity,
};
use rt::net::Listener;
use rusqlite::types::{ToSqlOutput, Value as Sql};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::{Command, Outcome, ReadLevel, Rows, StoreError, Value};

const SOON: Duration = Duration::from_secs(5);

/// `sys` of a cluster, as one of its nodes sees it.
#[derive(Clone)]
struct Sys {
    database: Arc<Mutex<rusqlite::Connection>>,
    leader: Arc<Mutex<Option<NodeId>>>,
    /// The next transaction is done, but its outcome does not come back.
    lose_next: Arc<Mutex<bool>>,
}

impl Sys {
    fn new() -> Self {
        let database = Arc::new(Mutex::new(rusqlite::Connection::open_in_memory().unwrap()));
        let sys = Self { database, leader: Arc::default(), lose_next: Arc::default() };
        sys.run(&store::tables()).unwrap();
        sys
    }

    fn run(&self, commands: &[Command]) -> rusqlite::Result<Outcome> {
        let mut database = self.database.lock().unwrap();
        let transaction = database.transaction()?;
        let mut changed = 0;
        for command in commands {
            let params = rusqlite::params_from_iter(command.params.iter().map(to_sql));
            changed = transaction.execute(&command.sql, params)?;
        }
        transaction.commit()?;
        Ok(Outcome { rows_affected: u64::try_from(changed).unwrap(), ..Outcome::default() })
    }

    fn rows(&self, command: &Command) -> rusqlite::Result<Rows> {
        let database = self.database.lock().unwrap();
        let mut statement = database.prepare(&command.sql)?;
        let width = statement.column_count();
        let params = rusqlite::params_from_iter(command.params.iter().map(to_sql));
        let rows = statement.query_map(params, |row| (0..width).map(|i| row.get(i).map(from_sql)).collect())?;
        Ok(Rows { columns: Vec::new(), rows: rows.collect::<rusqlite::Result<_>>()? })
    }

    /// One number from the database.
    fn count(&self, sql: &str) -> i64 {
        self.rows(&Command::new(sql, [])).unwrap().rows[0][0].integer().unwrap()
    }
}

fn to_sql(value: &Value) -> ToSqlOutput<'static> {
    ToSqlOutput::Owned(match value {
        Value::Null => Sql::Null,
        Value::Integer(i) => Sql::Integer(*i),
        Value::Real(r) => Sql::Real(*r),
        Value::Text(t) => Sql::Text(t.clone()),
        Value::Blob(b) => Sql::Blob(b.clone()),
    })
}

fn from_sql(value: Sql) -> Value {
    match value {
        Sql::Null => Value::Null,
        Sql::Integer(i) => Value::Integer(i),
        Sql::Real(r) => Value::Real(r),
        Sql::Text(t) => Value::Text(t),
        Sql::Blob(b) => Value::Blob(b),
    }
}

impl SysSql for Sys {
    fn transact(&self, commands: Vec<Command>) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        async move {
            let done = self.run(&commands).map_err(|error| StoreError::Internal(error.to_string()));
            if std::mem::take(&mut *self.lose_next.lock().unwrap()) { Err(StoreError::OutcomeUnknown) } else { done }
        }
        .boxed()
    }

    fn query(&self, _level: ReadLevel, command: Command) -> BoxFuture<'_, Result<Rows, StoreError>> {
        async move { self.rows(&command).map_err(|error| StoreError::Internal(error.to_string())) }.boxed()
    }

    fn leader(&self) -> Option<NodeId> {
        *self.leader.lock().unwrap()
    }

    fn is_spare(&self) -> bool {
        false
    }
}

/// The part of `ForMembers` that joining needs.
struct Members(Arc<Desk>);

impl Handler for Members {
    fn handle(&self, _caller: &Caller, method: u16, body: Bytes) -> BoxFuture<'static, Answer> {
        let desk = Arc::clone(&self.0);
        assert_eq!(method, REDEEM_FOR);
        async move { desk.redeem_for(&body).await.map_err(|error| Refusal::of(&error)) }.boxed()
    }
}

struct World {
    sys: Sys,
    state: tempfile::TempDir,
    identity: NodeIdentity,
    address: String,
    mesh: Arc<Mesh>,
    _scope: Scope,
}

fn who(name: &str) -> JoinAs {
    let port = 1_000 + name.bytes().map(u32::from).sum::<u32>();
    JoinAs {
        name: NodeName::new(name).unwrap(),
        address: format!("127.0.0.1:{port}"),
        dqlite_address: "127.0.0.1:9000".to_owned(),
        https_address: "127.0.0.1:7443".to_owned(),
        version: "0.1.0".to_owned(),
        witness: false,
    }
}

impl World {
    /// A cluster of one.
    async fn new(transport: Transport) -> Self {
        let state = tempfile::tempdir().unwrap();
        let identity =
            NodeIdentity::found(&state.path().join("founder"), &who("founder"), transport, NODE_LIFE).unwrap();
        let sys = Sys::new();
        node_rows::found(&sys, &identity.record, Fingerprint::default(), "0.1.0").await.unwrap();
        *sys.leader.lock().unwrap() = Some(identity.record.node);
        let scope = Scope::new("test");
        let (mesh, address) = serve(&identity, &sys, &scope).await;
        Self { sys, state, identity, address, mesh, _scope: scope }
    }

    fn dir(&self, machine: &str) -> PathBuf {
        self.state.path().join(machine)
    }

    async fn token(&self, name: Option<&str>, valid: Duration) -> Token {
        let (id, secret) = (TokenId::random(), Secret::random());
        let name = name.map(|name| NodeName::new(name).unwrap());
        token_rows::add(&self.sys, &id, &secret, name.as_ref(), valid).await.unwrap();
        let ca = self.identity.issuer().unwrap().unwrap_or_default();
        Token { kind: TokenKind::Join, addresses: vec![self.address.clone()], ca, id, secret }
    }

    async fn fresh(&self) -> Token {
        self.token(None, Duration::from_hours(1)).await
    }

    async fn join(&self, machine: &str, name: &str, token: &Token) -> Result<super::client::Joined, ClusterError> {
        join(&self.dir(machine), token, &who(name), self.identity.record.transport, Duration::from_millis(800), |_| {
            Ok(())
        })
        .await
    }

    async fn refused(&self, machine: &str, name: &str, token: &Token) -> String {
        self.join(machine, name, token).await.unwrap_err().code().to_string()
    }

    async fn rows(&self, state: NodeRowState) -> Vec<NodeRow> {
        let mut rows = node_rows::all(&self.sys, ReadLevel::Linearizable).await.unwrap();
        rows.retain(|row| row.state == state);
        rows
    }
}

async fn serve(identity: &NodeIdentity, sys: &Sys, scope: &Scope) -> (Arc<Mesh>, String) {
    let mesh = Mesh::new(identity.mesh().unwrap(), scope).unwrap();
    let desk = Arc::new(Desk {
        node: identity.record.node,
        cluster: identity.record.cluster.clone(),
        transport: identity.record.transport,
        keys: Keyring::open(PathBuf::from("nowhere"), identity.clone(), NODE_LIFE).await.unwrap(),
        sys: Arc::new(sys.clone()),
        mesh: Arc::clone(&mesh),
    });
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let handlers = Handlers::new()
        .with(Service::Join, Arc::new(ForStrangers(Arc::clone(&desk))))
        .with(Service::Cluster, Arc::new(Members(desk)));
    mesh.serve(listener, handlers);
    (mesh, address)
}

/// Killed in between, it would be a member that never finds the others.
#[tokio::test]
async fn a_machine_knows_where_the_others_are_before_it_is_a_node() {
    let world = World::new(Transport::Tls).await;
    let token: Token = world.fresh().await.to_string().parse().unwrap();
    let dir = world.dir("box2");
    let full = |members: &[MemberAddress]| {
        assert_eq!(members.len(), 1);
        Err(ClusterError::File { path: "introduction.json".into(), error: std::io::ErrorKind::StorageFull.into() })
    };
    let refused = join(&dir, &token, &who("box2"), Transport::Tls, SOON, full).await;
    assert!(refused.is_err());
    assert_eq!(NodeIdentity::load(&dir, Transport::Tls).unwrap(), None);
    world.join("box2", "box2", &token).await.unwrap();
}

#[tokio::test]
async fn a_machine_with_a_token_becomes_a_joining_node_with_an_identity_on_disk() {
    let world = World::new(Transport::Tls).await;
    let token: Token = world.fresh().await.to_string().parse().unwrap();
    let joined = world.join("box2", "box2", &token).await.unwrap();
    assert_eq!(joined.leader, world.identity.record.node);
    assert_eq!(joined.members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>(), ["founder"]);
    assert!(joined.clock_ahead_ms.abs() < 5_000);

    let loaded = NodeIdentity::load(&world.dir("box2"), Transport::Tls).unwrap().unwrap();
    assert_eq!(loaded, joined.identity);
    assert_eq!(loaded.record.cluster, world.identity.record.cluster);
    assert!(!loaded.authorities().unwrap().is_empty(), "it may lead one day");
    let [row] = &world.rows(NodeRowState::Joining).await[..] else { panic!("one row") };
    assert_eq!((row.node, row.name.as_str()), (loaded.record.node, "box2"));

    // The certificate is good for the mesh.
    let scope = Scope::new("box2");
    let (mesh, _) = serve(&loaded, &world.sys, &scope).await;
    joined.introduce(&mesh);
    mesh.set_address(world.identity.record.node, &world.address);
    let body = Bytes::from_static(b"\xff");
    let call = mesh.call(world.identity.record.node, Service::Cluster, REDEEM_FOR, body, SOON, rpc::Class::Control);
    assert_eq!(ClusterError::of_call(call.await.unwrap_err()).code().0, "BL-CLU-021", "it was heard as a member");
}

#[tokio::test]
async fn a_token_lets_in_one_of_two_machines_that_use_it_at_once() {
    for _ in 0..5 {
        let world = World::new(Transport::Tls).await;
        let token = world.fresh().await;
        let names = ["box2", "box3", "box4"];
        let answers = join_all(names.map(|name| world.join(name, name, &token))).await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        let winner = won[0].as_ref().unwrap().identity.record.node;
        for error in lost {
            assert!(matches!(error, Err(ClusterError::Refused { code, .. }) if code.0 == "BL-CLU-004"), "{error:?}");
        }
        assert_eq!(world.rows(NodeRowState::Joining).await.iter().map(|row| row.node).collect::<Vec<_>>(), [winner]);
        assert_eq!(world.sys.count("SELECT count(*) FROM tokens WHERE used_by IS NOT NULL"), 1);
    }
}

#[tokio::test]
async fn a_join_that_was_killed_gets_the_same_answer_when_it_is_repeated() {
    let world = World::new(Transport::Tls).await;
    let token = world.fresh().await;
    let first = world.join("box2", "box2", &token).await.unwrap();
    // Killed after the answer, before the record was written.
    rt::fs::remove_file(&world.dir("box2").join("node.json")).unwrap();
    let second = world.join("box2", "box2", &token).await.unwrap();
    assert_eq!(second.identity.record, first.identity.record);
    // Or it does not know the old token any more.
    rt::fs::remove_file(&world.dir("box2").join("node.json")).unwrap();
    let third = world.join("box2", "box2", &world.fresh().await).await.unwrap();
    assert_eq!(third.identity.record, first.identity.record);
    assert_eq!(world.rows(NodeRowState::Joining).await.len(), 1);
}

#[tokio::test]
async fn a_join_whose_outcome_was_lost_on_the_leader_is_answered_on_the_next_try() {
    let world = World::new(Transport::Tls).await;
    let token = world.fresh().await;
    *world.sys.lose_next.lock().unwrap() = true;
    let joined = match world.join("box2", "box2", &token).await {
        Ok(joined) => joined,
        Err(error) => {
            assert_eq!(error.code().0, "BL-STORE-002");
            world.join("box2", "box2", &token).await.unwrap()
        }
    };
    assert_eq!(world.rows(NodeRowState::Joining).await[0].node, joined.identity.record.node);
    assert_eq!(world.sys.count("SELECT count(*) FROM nodes"), 2);
}

#[tokio::test]
async fn a_machine_wiped_in_the_middle_of_its_join_replaces_its_own_old_row() {
    let world = World::new(Transport::Tls).await;
    let lost = world.join("box2", "box2", &world.fresh().await).await.unwrap().identity.record.node;
    let token = world.fresh().await;
    let again = world.join("box2-wiped", "box2", &token).await.unwrap().identity.record.node;
    assert_ne!(again, lost);
    assert_eq!(world.rows(NodeRowState::Removed).await[0].node, lost);
    assert_eq!(world.rows(NodeRowState::Joining).await[0].node, again);
    // The one that was replaced is told so, and its next attempt starts afresh.
    rt::fs::remove_file(&world.dir("box2").join("node.json")).unwrap();
    assert_eq!(world.refused("box2", "box2", &token).await, "BL-CLU-018");
    assert!(!rt::fs::exists(&world.dir("box2").join("node.key")));
}

#[tokio::test]
async fn names_and_addresses_of_members_are_not_given_away_and_the_token_stays_good() {
    let world = World::new(Transport::Tls).await;
    let token = world.fresh().await;
    assert_eq!(world.refused("thief", "founder", &token).await, "BL-CLU-007");
    let squatter = JoinAs { address: who("founder").address, ..who("other") };
    let refused = join(&world.dir("other"), &token, &squatter, Transport::Tls, SOON, |_| Ok(())).await;
    assert_eq!(refused.unwrap_err().code().0, "BL-CLU-008");
    world.join("box2", "box2", &token).await.unwrap();
}

#[tokio::test]
async fn tokens_that_are_no_good_are_told_apart() {
    let world = World::new(Transport::Tls).await;
    let named = world.token(Some("box9"), SOON).await;
    assert_eq!(world.refused("box2", "box2", &named).await, "BL-CLU-006");
    let expired = world.token(None, Duration::ZERO).await;
    assert_eq!(world.refused("box2", "box2", &expired).await, "BL-CLU-005");
    let revoked = world.fresh().await;
    token_rows::revoke(&world.sys, &revoked.id).await.unwrap();
    assert_eq!(world.refused("box2", "box2", &revoked).await, "BL-CLU-003");
    assert_eq!(token_rows::revoke(&world.sys, &revoked.id).await.unwrap_err().code().0, "BL-CLU-003");
    let forged = Token { secret: Secret::random(), ..world.fresh().await };
    assert_eq!(world.refused("box2", "box2", &forged).await, "BL-CLU-003");
    assert_eq!(world.sys.count("SELECT count(*) FROM nodes"), 1);
    world.join("box2", "box9", &named).await.unwrap();
}

#[tokio::test]
async fn a_stolen_identity_directory_does_not_bring_a_member_back_without_its_data() {
    let world = World::new(Transport::Tls).await;
    let joined = world.join("box2", "box2", &world.fresh().await).await.unwrap().identity.record;
    node_rows::announce(&world.sys, &Announce::of(&joined, "0.1.0")).await.unwrap();
    rt::fs::remove_file(&world.dir("box2").join("node.json")).unwrap();
    let token = world.fresh().await;
    assert_eq!(world.refused("box2", "box2", &token).await, "BL-CLU-024");
    assert_eq!(world.refused("box2", "box2", &token).await, "BL-CLU-007", "with a new key it is another machine");
}

#[tokio::test]
async fn a_token_of_another_cluster_is_not_shown_to_this_one() {
    let (ours, theirs) = (World::new(Transport::Tls).await, World::new(Transport::Tls).await);
    let mut token = ours.fresh().await;
    token.addresses = vec![theirs.address.clone()];
    let error = ours.join("box2", "box2", &token).await.unwrap_err();
    assert!(error.to_string().contains("its certificate is not of this cluster"), "{error}");
    assert_eq!(error.code().0, "BL-RPC-012");
}

#[tokio::test]
async fn members_that_do_not_answer_are_passed_over_and_named_when_nobody_does() {
    let world = World::new(Transport::Tls).await;
    let mut token = world.fresh().await;
    let nobody = Listener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    token.addresses = vec![nobody.clone()];
    let error = world.join("box2", "box2", &token).await.unwrap_err();
    assert_eq!(error.code().0, "BL-CLU-016");
    assert!(error.to_string().contains(&nobody), "{error}");
    token.addresses.push(world.address.clone());
    world.join("box2", "box2", &token).await.unwrap();
}

#[tokio::test]
async fn any_member_lets_in_by_asking_the_leader() {
    let world = World::new(Transport::Tls).await;
    let second = world.join("box2", "box2", &world.fresh().await).await.unwrap();
    let scope = Scope::new("box2");
    // It has the same rows, but no key of the CA: only the leader can sign.
    let mut follower = second.identity.clone();
    if let crate::Credentials::Tls { ca_key, .. } = &mut follower.credentials {
        *ca_key = None;
    }
    let (mesh, address) = serve(&follower, &world.sys, &scope).await;
    mesh.set_address(world.identity.record.node, &world.address);
    let mut token = world.fresh().await;
    token.addresses = vec![address];
    let third = world.join("box3", "box3", &token).await.unwrap();
    assert_eq!(third.leader, world.identity.record.node);

    // Nobody leads, or the one taken for the leader does not: later.
    let mut token = world.fresh().await;
    token.addresses = vec![world.address.clone()];
    *world.sys.leader.lock().unwrap() = None;
    assert_eq!(world.refused("box4", "box4", &token).await, "BL-CLU-020");
    *world.sys.leader.lock().unwrap() = Some(second.identity.record.node);
    assert_eq!(world.refused("box4", "box4", &token).await, "BL-CLU-020");
    *world.sys.leader.lock().unwrap() = Some(world.identity.record.node);
    world.join("box4", "box4", &token).await.unwrap();
    drop(Arc::clone(&world.mesh));
}

#[tokio::test]
async fn a_member_gets_a_certificate_by_its_key_alone_and_nobody_else_does() {
    let world = World::new(Transport::Tls).await;
    let second = world.join("box2", "box2", &world.fresh().await).await.unwrap().identity;
    let crate::Credentials::Tls { ca, key, .. } = &second.credentials else { panic!("no certificates") };
    let (own, other) = (NodeKey::from_pem(key).unwrap(), NodeKey::generate().unwrap());
    let roots = crate::identity::certificates(ca).unwrap();
    let ask = async |connects: &NodeKey, requests: &NodeKey| {
        let (certificate, key) = connects.self_signed().unwrap();
        let stranger = StrangerIdentity::Tls { certificate, key };
        let mut door = StrangerConnection::open_trusting(&world.address, &stranger, &roots, SOON).await.unwrap();
        let request = requests.request(&second.record.name).unwrap();
        let answer = door.call(RENEW, encode(&RenewRequest { form: FORM, request }).unwrap(), SOON).await;
        answer.map_err(ClusterError::of_call).and_then(|answer| decode::<RenewAnswer>(&answer))
    };
    // It has no certificate that is worth anything, and nobody leads.
    *world.sys.leader.lock().unwrap() = None;
    let given = ask(&own, &own).await.unwrap();
    assert_eq!(given.ca, *ca);
    assert_eq!(fingerprint_of_pem(&given.certificate).unwrap(), own.fingerprint());
    let renewed =
        crate::Credentials::Tls { ca: given.ca, ca_key: None, certificate: given.certificate, key: key.clone() };
    let renewed = NodeIdentity { record: second.record.clone(), credentials: renewed };
    renewed.check(&world.dir("box2")).unwrap();

    let refused = async |connects: &NodeKey, requests: &NodeKey| match ask(connects, requests).await {
        Ok(_) => panic!("it was given"),
        Err(error) => error.code().0,
    };
    assert_eq!(refused(&other, &other).await, "BL-CLU-041", "nobody knows that key");
    assert_eq!(refused(&other, &own).await, "BL-CLU-041", "what counts is the key of the connection");
    assert_eq!(refused(&own, &other).await, "BL-CLU-017", "nor does it get one for another key");
    world.sys.run(&[Command::new("UPDATE nodes SET state = 'removed' WHERE name = 'box2'", [])]).unwrap();
    assert_eq!(refused(&own, &own).await, "BL-CLU-018", "it is no member any more");
}

#[tokio::test]
async fn a_machine_that_never_comes_up_leaves_nothing_behind() {
    let world = World::new(Transport::Tls).await;
    let record = world.join("box2", "box2", &world.fresh().await).await.unwrap().identity.record;
    assert!(!node_rows::sweep(&world.sys).await.unwrap());
    world.sys.run(&[Command::new("UPDATE nodes SET since = since - 901 WHERE state = 'joining'", [])]).unwrap();
    assert!(node_rows::sweep(&world.sys).await.unwrap());
    assert_eq!(world.rows(NodeRowState::Removed).await[0].node, record.node);
    let late = node_rows::announce(&world.sys, &Announce::of(&record, "0.1.0")).await;
    assert_eq!(late.unwrap_err().code().0, "BL-CLU-018");
    world.join("box2-new", "box2", &world.fresh().await).await.unwrap();
}

#[tokio::test]
async fn an_announcement_makes_a_member_once_and_writes_only_news() {
    let world = World::new(Transport::Tls).await;
    let record = world.join("box2", "box2", &world.fresh().await).await.unwrap().identity.record;
    let announce = async |address: &str, version| {
        let announce = Announce { address: address.to_owned(), ..Announce::of(&record, version) };
        node_rows::announce(&world.sys, &announce).await
    };
    announce("127.0.0.1:5", "0.1.0").await.unwrap();
    let since = world.rows(NodeRowState::Member).await[0].since;
    let writes = || world.sys.count("SELECT total_changes()");
    let before = writes();
    announce("127.0.0.1:5", "0.1.0").await.unwrap();
    assert_eq!(writes(), before);
    announce("127.0.0.1:5", "0.2.0").await.unwrap();
    assert!(writes() > before);
    let row = world.rows(NodeRowState::Member).await.into_iter().find(|row| row.node == record.node).unwrap();
    assert_eq!((row.version.as_str(), row.since), ("0.2.0", since));
    let founders = who("founder").address;
    let error = announce(&founders, "0.2.0").await.unwrap_err();
    assert_eq!(error.code().0, "BL-CLU-008");
}

#[tokio::test]
async fn the_simulators_machines_join_without_certificates() {
    let world = World::new(Transport::Plain).await;
    let token = world.fresh().await;
    let first = world.join("box2", "box2", &token).await.unwrap();
    rt::fs::remove_file(&world.dir("box2").join("node.json")).unwrap();
    assert_eq!(world.join("box2", "box2", &token).await.unwrap().identity.record, first.identity.record);
    assert_eq!(world.refused("box3", "box3", &token).await, "BL-CLU-004");
}

#[test]
fn messages_of_another_form_or_cut_short_are_errors() {
    let announce = Announce {
        form: FORM,
        node: NodeId(1),
        address: "a:1".to_owned(),
        dqlite_address: "a:2".to_owned(),
        https_address: "a:3".to_owned(),
        version: "0.1.0".to_owned(),
    };
    let bytes = encode(&announce).unwrap();
    assert_eq!(decode::<Announce>(&bytes).unwrap(), announce);
    for end in 0..bytes.len() {
        assert!(decode::<Announce>(&bytes[..end]).is_err(), "{end}");
    }
    let newer = encode(&Announce { form: 2, ..announce }).unwrap();
    assert!(decode::<Announce>(&newer).unwrap_err().to_string().contains("form is 2"));
}
