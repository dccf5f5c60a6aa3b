//! What an identity on disk is worth: founding, loading, and every way its files can be wrong.

use super::*;
use std::os::unix::fs::PermissionsExt;

fn who(name: &str) -> crate::JoinAs {
    crate::JoinAs {
        name: NodeName::new(name).unwrap(),
        address: "10.0.0.1:7440".to_owned(),
        dqlite_address: "10.0.0.1:9000".to_owned(),
        https_address: "10.0.0.1:7443".to_owned(),
        version: "0.1.0".to_owned(),
        witness: false,
    }
}

fn founded() -> (tempfile::TempDir, PathBuf, NodeIdentity) {
    let state = tempfile::tempdir().unwrap();
    let dir = state.path().join("identity");
    let identity = NodeIdentity::found(&dir, &who("box1"), Transport::Tls, crate::authority::NODE_LIFE).unwrap();
    (state, dir, identity)
}

fn why(dir: &Path) -> String {
    NodeIdentity::load(dir, Transport::Tls).unwrap_err().to_string()
}

#[test]
fn an_identity_is_read_as_it_was_written_and_no_one_else_may_read_it() {
    let (_state, dir, identity) = founded();
    assert_eq!(NodeIdentity::load(&dir, Transport::Tls).unwrap(), Some(identity.clone()));
    assert!(matches!(identity.mesh().unwrap(), Identity::Tls(_)));
    assert_eq!(identity.authorities().unwrap().len(), 1);
    for file in rt::fs::list(&dir).unwrap() {
        let mode = dir.join(&file).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert_eq!(rt::fs::list(&dir).unwrap(), ["ca.key", "ca.pem", "node.json", "node.key", "node.pem"]);
}

#[test]
fn a_machine_without_a_record_is_no_node_whatever_else_is_there() {
    let (_state, dir, _) = founded();
    rt::fs::remove_file(&dir.join(RECORD)).unwrap();
    assert_eq!(NodeIdentity::load(&dir, Transport::Tls).unwrap(), None);
    assert_eq!(NodeIdentity::load(Path::new("/nowhere/at/all"), Transport::Tls).unwrap(), None);
}

#[test]
fn a_node_is_not_founded_twice() {
    let (_state, dir, identity) = founded();
    let error = NodeIdentity::found(&dir, &who("box1"), Transport::Tls, crate::authority::NODE_LIFE).unwrap_err();
    assert!(matches!(error, ClusterError::AlreadyMember { node, .. } if node == identity.record.node));
    assert!(joining_key(&dir).is_err());
    assert_eq!(NodeIdentity::load(&dir, Transport::Tls).unwrap(), Some(identity));
}

#[test]
fn loading_says_which_file_is_wrong_and_how() {
    let (_state, dir, identity) = founded();
    let (_state2, other, _) = founded();
    for file in [CA, CERTIFICATE, KEY] {
        let whole = rt::fs::read(&dir.join(file)).unwrap();
        rt::fs::remove_file(&dir.join(file)).unwrap();
        assert!(why(&dir).ends_with(&format!("{file}: it is missing")), "{}", why(&dir));
        for damage in [&b""[..], b"\xff\xfe", &whole[..whole.len() / 2]] {
            rt::fs::write_atomic(&dir.join(file), damage).unwrap();
            let error = NodeIdentity::load(&dir, Transport::Tls).unwrap_err();
            assert!(matches!(error, ClusterError::Damaged { .. }), "{file}: {error}");
        }
        rt::fs::write_atomic(&dir.join(file), &whole).unwrap();
    }
    for (file, expected) in [
        (KEY, "node.key: it is not the key of node.pem"),
        (CERTIFICATE, "node.json says"),
        (CA, "does not vouch for it"),
        (CA_KEY, "the CA's key is not that of its certificate"),
    ] {
        let whole = rt::fs::read(&dir.join(file)).unwrap();
        rt::fs::write_atomic(&dir.join(file), &rt::fs::read(&other.join(file)).unwrap()).unwrap();
        assert!(why(&dir).contains(expected), "{file}: {}", why(&dir));
        rt::fs::write_atomic(&dir.join(file), &whole).unwrap();
    }
    rt::fs::write_atomic(&dir.join(RECORD), b"{\"format\": 2}").unwrap();
    assert!(why(&dir).contains("node.json"), "{}", why(&dir));
    identity.save(&dir).unwrap();
    assert!(NodeIdentity::load(&dir, Transport::Plain).unwrap_err().to_string().contains("transport"));
    assert_eq!(NodeIdentity::load(&dir, Transport::Tls).unwrap(), Some(identity));
}

#[test]
fn a_node_that_may_not_lead_has_no_authority() {
    let (_state, dir, _) = founded();
    rt::fs::remove_file(&dir.join(CA_KEY)).unwrap();
    let identity = NodeIdentity::load(&dir, Transport::Tls).unwrap().unwrap();
    assert!(identity.authorities().unwrap().is_empty());
}

#[test]
fn a_join_that_was_killed_is_repeated_with_the_same_key() {
    let state = tempfile::tempdir().unwrap();
    let dir = state.path().join("identity");
    let first = joining_key(&dir).unwrap().fingerprint();
    assert_eq!(joining_key(&dir).unwrap().fingerprint(), first);
    forget_joining_key(&dir).unwrap();
    forget_joining_key(&dir).unwrap();
    assert_ne!(joining_key(&dir).unwrap().fingerprint(), first);
}

#[test]
fn the_simulators_identity_has_no_keys() {
    let state = tempfile::tempdir().unwrap();
    let dir = state.path().join("identity");
    let identity = NodeIdentity::found(&dir, &who("box1"), Transport::Plain, crate::authority::NODE_LIFE).unwrap();
    assert_eq!(rt::fs::list(&dir).unwrap(), ["node.json"]);
    assert_eq!(NodeIdentity::load(&dir, Transport::Plain).unwrap(), Some(identity));
    assert!(NodeIdentity::load(&dir, Transport::Tls).is_err(), "a real node never runs without certificates");
}

/// Makes an identity whose certificate begins and ends at other times: those at which its CA would have made it.
fn with_certificate_of(identity: &NodeIdentity, authority: &Authority) -> Credentials {
    let Credentials::Tls { ca_key, key, .. } = &identity.credentials else { panic!("no certificates") };
    let own = NodeKey::from_pem(key).unwrap();
    let certificate =
        authority.issue(own.pair(), identity.record.node, &identity.record.name, &identity.hosts()).unwrap();
    Credentials::Tls {
        ca: authority.certificate().to_owned(),
        ca_key: ca_key.as_ref().map(|_| authority.key().to_owned()),
        certificate,
        key: key.clone(),
    }
}

#[test]
fn credentials_are_replaced_so_that_after_a_crash_at_any_file_the_node_is_whole() {
    let (_state, dir, identity) = founded();
    let next = Authority::generate(&identity.record.cluster).unwrap();
    let by = with_certificate_of(&identity, &next);
    let files = |dir: &Path| -> Vec<(String, Vec<u8>)> {
        let names = rt::fs::list(dir).unwrap();
        names.into_iter().map(|name| (name.clone(), rt::fs::read(&dir.join(&name)).unwrap())).collect()
    };
    let before = files(&dir);
    let replaced = identity.replace(&dir, by.clone()).unwrap();
    assert_eq!(NodeIdentity::load(&dir, Transport::Tls).unwrap(), Some(replaced.clone()));
    assert_eq!(replaced.issuer().unwrap(), Some(next.fingerprint()));

    // A file is written whole or not at all: so a crash leaves the first so many of the writes. The simulated disk of the sweeps has
    // the power cuts; here each prefix is made by hand.
    let Credentials::Tls { ca: old_ca, ca_key: Some(old_key), .. } = &identity.credentials else { panic!() };
    let Credentials::Tls { ca, ca_key: Some(key), certificate, .. } = &by else { panic!() };
    let writes = [
        (CA_KEY, union(old_key, key)),
        (CA, union(old_ca, ca)),
        (CERTIFICATE, certificate.clone()),
        (CA, ca.clone()),
        (CA_KEY, key.clone()),
    ];
    for written in 0..=writes.len() {
        for (name, contents) in &before {
            rt::fs::write_atomic(&dir.join(name), contents).unwrap();
        }
        for (name, contents) in &writes[..written] {
            rt::fs::write_atomic(&dir.join(name), contents.as_bytes()).unwrap();
        }
        let found = NodeIdentity::load(&dir, Transport::Tls).unwrap().unwrap();
        let issuer = found.issuer().unwrap().unwrap();
        assert!(found.authorities().unwrap().iter().any(|held| held.fingerprint() == issuer), "after {written} writes");
        // And it is replaced from there.
        assert_eq!(found.replace(&dir, by.clone()).unwrap(), replaced, "after {written} writes");
        assert_eq!(NodeIdentity::load(&dir, Transport::Tls).unwrap(), Some(replaced.clone()), "after {written} writes");
    }
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_no_damage() {
    let (_state, dir, identity) = founded();
    let old = identity.authorities().unwrap().remove(0).with_node_life(Duration::ZERO);
    let expired = identity.replace(&dir, with_certificate_of(&identity, &old)).unwrap();
    rt::time::sleep(Duration::from_millis(1_100)).await;
    let validity = expired.validity().unwrap().unwrap();
    assert!(validity.not_after < crate::sys::now());
    assert_eq!(NodeIdentity::load(&dir, Transport::Tls).unwrap(), Some(expired));
}

#[test]
fn a_key_that_waits_for_its_certificate_is_kept_and_passed_over() {
    let (_state, dir, identity) = founded();
    let next = Authority::generate(&identity.record.cluster).unwrap();
    let kept = identity.keep_key(&dir, next.key()).unwrap();
    let loaded = NodeIdentity::load(&dir, Transport::Tls).unwrap().unwrap();
    assert_eq!(loaded, kept);
    assert_eq!(loaded.authorities().unwrap().len(), 1);
    // With its certificate it is an authority.
    let Credentials::Tls { ca, ca_key, certificate, key } = &kept.credentials else { panic!("no certificates") };
    let (ca_key, certificate, key) = (ca_key.clone(), certificate.clone(), key.clone());
    let both = Credentials::Tls { ca: union(ca, next.certificate()), ca_key, certificate, key };
    assert_eq!(kept.replace(&dir, both).unwrap().authorities().unwrap().len(), 2);
}
