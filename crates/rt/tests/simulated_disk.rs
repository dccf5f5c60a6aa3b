//! The simulated disk keeps what a real one promises, and loses what a real one may lose.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use rt::fs::{self, File};
use rt::sim::{Disk, DiskProfile, Fault, every_cut, every_fault, run_blocking};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

const FILE: &str = "/state/log";

fn in_state<R>(seed: u64, disk: &Disk, work: impl FnOnce() -> R) -> R {
    run_blocking(seed, disk, || {
        fs::create_dir_all(Path::new("/state")).unwrap();
        work()
    })
}

/// Writes 8 sectors of ones, synced with its name, then 8 sectors of twos, not synced; cuts; returns the sectors.
fn after_a_cut(seed: u64) -> Vec<u8> {
    let disk = Disk::new(seed);
    in_state(seed, &disk, || {
        let file = File::create(Path::new(FILE)).unwrap();
        file.write_all_at(&[1; 4096], 0).unwrap();
        file.sync_data().unwrap();
        fs::sync_dir(Path::new("/state")).unwrap();
        file.write_all_at(&[2; 4096], 0).unwrap();
    });
    disk.power_on();
    let contents = run_blocking(seed, &disk, || fs::read(Path::new(FILE)).unwrap());
    contents
        .chunks(512)
        .map(|sector| {
            assert!(sector.iter().all(|b| *b == sector[0]), "torn inside a sector");
            sector[0]
        })
        .collect()
}

#[test]
fn unsynced_writes_are_lost_kept_or_torn_at_sectors() {
    let outcomes: BTreeSet<Vec<u8>> = (0..200).map(after_a_cut).collect();
    assert!(outcomes.contains(&vec![1; 8]), "never all lost");
    assert!(outcomes.contains(&vec![2; 8]), "never all kept");
    assert!(outcomes.len() > 10, "hardly ever torn: {outcomes:?}");
}

#[test]
fn one_seed_has_one_accident() {
    for seed in 0..50 {
        assert_eq!(after_a_cut(seed), after_a_cut(seed));
    }
}

#[test]
fn a_new_name_needs_a_sync_of_its_directory() {
    let survived = |seed, sync: bool| {
        let disk = Disk::new(seed);
        in_state(seed, &disk, || {
            let file = File::create(Path::new(FILE)).unwrap();
            file.write_all_at(b"x", 0).unwrap();
            file.sync_data().unwrap();
            if sync {
                fs::sync_dir(Path::new("/state")).unwrap();
            }
        });
        disk.power_on();
        run_blocking(seed, &disk, || fs::exists(Path::new(FILE)))
    };
    assert!((0..100).all(|seed| survived(seed, true)));
    let kept = (0..100).filter(|seed| survived(*seed, false)).count();
    assert!((10..90).contains(&kept), "{kept} of 100");
}

#[test]
fn a_file_replaced_atomically_is_the_old_or_the_new_after_every_cut() {
    let cuts = every_cut::<Vec<u8>>(
        0..40,
        || {
            fs::create_dir_all(Path::new("/state")).unwrap();
            fs::write_atomic(Path::new(FILE), &[b'0'; 2000]).unwrap();
        },
        |acknowledged| {
            for version in b'1'..b'4' {
                fs::write_atomic(Path::new(FILE), &[version; 2000]).unwrap();
                acknowledged.push(version);
            }
        },
        |acknowledged, _| {
            let contents = fs::read(Path::new(FILE)).unwrap();
            assert_eq!(contents.len(), 2000);
            assert!(contents.iter().all(|b| *b == contents[0]), "mixed");
            assert!(contents[0] >= acknowledged.last().copied().unwrap_or(b'0'), "acknowledged and lost");
        },
    );
    assert!(cuts > 500, "{cuts}");
}

/// The enumeration has to be able to fail: a replacement without the sync of the contents is caught.
#[test]
fn a_replacement_without_a_sync_is_caught() {
    let careless = || {
        every_cut::<bool>(
            0..40,
            || fs::create_dir_all(Path::new("/state")).unwrap(),
            |acknowledged| {
                let file = File::create(Path::new("/state/new")).unwrap();
                file.write_all_at(&[7; 2000], 0).unwrap();
                fs::rename(Path::new("/state/new"), Path::new(FILE)).unwrap();
                fs::sync_dir(Path::new("/state")).unwrap();
                *acknowledged = true;
                // One operation more, so that a cut after the acknowledgement exists.
                file.set_len(2000).unwrap();
            },
            |acknowledged, _| {
                assert!(!acknowledged || fs::read(Path::new(FILE)).unwrap() == [7; 2000]);
            },
        )
    };
    assert!(std::panic::catch_unwind(careless).is_err());
}

#[test]
fn a_failed_sync_never_writes_its_data_later() {
    let lost = (0..100).filter(|seed| {
        let disk = Disk::new(*seed);
        in_state(*seed, &disk, || {
            let file = File::create(Path::new(FILE)).unwrap();
            fs::sync_dir(Path::new("/state")).unwrap();
            file.write_all_at(&[9; 512], 0).unwrap();
            disk.fail_at(disk.operations(), Fault::Eio);
            assert!(file.sync_data().is_err());
            file.sync_data().unwrap();
            let mut seen = [0; 512];
            file.read_exact_at(&mut seen, 0).unwrap();
            assert_eq!(seen, [9; 512], "the cache still shows it");
        });
        disk.power_on();
        run_blocking(*seed, &disk, || fs::read(Path::new(FILE)).unwrap()) != [9; 512]
    });
    assert!(lost.count() > 20);
}

#[test]
fn a_full_disk_refuses_growth_and_nothing_else() {
    let disk = Disk::new(1);
    disk.set_profile(DiskProfile { quota: 1000, ..DiskProfile::default() });
    in_state(1, &disk, || {
        let file = File::create(Path::new(FILE)).unwrap();
        file.write_all_at(&[1; 900], 0).unwrap();
        assert_eq!(file.write_all_at(&[1; 200], 900).unwrap_err().kind(), ErrorKind::StorageFull);
        file.write_all_at(&[2; 900], 0).unwrap();
        file.sync_data().unwrap();
        file.set_len(100).unwrap();
        file.write_all_at(&[1; 200], 100).unwrap();
    });
}

#[test]
fn a_killed_process_loses_its_handles_and_locks_but_no_data() {
    let disk = Disk::new(1);
    let old = in_state(1, &disk, || {
        let file = File::create(Path::new(FILE)).unwrap();
        file.try_lock().unwrap();
        file.write_all_at(b"kept", 0).unwrap();
        assert_eq!(File::open(Path::new(FILE)).unwrap().try_lock().unwrap_err().kind(), ErrorKind::WouldBlock);
        file
    });
    disk.process_died();
    assert!(old.sync_data().is_err());
    run_blocking(1, &disk, || {
        assert_eq!(fs::read(Path::new(FILE)).unwrap(), b"kept");
        File::open(Path::new(FILE)).unwrap().try_lock().unwrap();
    });
}

#[test]
fn a_lie_of_a_sync_loses_what_it_acknowledged() {
    let broken = || {
        every_fault::<bool>(
            0..20,
            Fault::Lie,
            || fs::create_dir_all(Path::new("/state")).unwrap(),
            |acknowledged| {
                fs::write_atomic(Path::new(FILE), b"precious").unwrap();
                *acknowledged = true;
            },
            |acknowledged, _| assert!(!acknowledged || fs::read(Path::new(FILE)).unwrap() == b"precious"),
        )
    };
    assert!(std::panic::catch_unwind(broken).is_err());
}

#[test]
fn bits_rot_where_they_are_told_to() {
    let disk = Disk::new(3);
    in_state(3, &disk, || fs::write_atomic(Path::new(FILE), &[0; 100]).unwrap());
    assert!(disk.rot(Path::new(FILE), 7, 3));
    assert!(!disk.rot(Path::new(FILE), 100, 0));
    let contents = run_blocking(3, &disk, || fs::read(Path::new(FILE)).unwrap());
    assert_eq!(contents.iter().map(|b| u32::from(*b)).sum::<u32>(), 8);
    let is_it = |path: &Path| path == Path::new(FILE);
    assert_eq!(disk.rot_somewhere(is_it, 99), Some((FILE.into(), 99)));
    assert_eq!((disk.rot_somewhere(is_it, 100), disk.rot_somewhere(|path| !is_it(path), 0)), (None, None));
}

#[test]
fn names_are_listed_in_order_and_removed_with_their_directory() {
    let disk = Disk::new(4);
    in_state(4, &disk, || {
        for name in ["b", "a", "c"] {
            File::create(&Path::new("/state").join(name)).unwrap();
        }
        fs::create_dir_all(Path::new("/state/d/e")).unwrap();
        assert_eq!(fs::list(Path::new("/state")).unwrap(), ["a", "b", "c", "d"]);
        fs::rename(Path::new("/state"), Path::new("/moved")).unwrap();
        assert!(fs::exists(Path::new("/moved/d/e")));
        fs::remove_dir_all(Path::new("/moved")).unwrap();
        assert_eq!(fs::list(Path::new("/")).unwrap(), Vec::<String>::new());
        assert_eq!(fs::read(Path::new("/moved/a")).unwrap_err().kind(), ErrorKind::NotFound);
    });
}
