//! A run of a few seconds on real processes, where it can be had.

use super::*;
use client::Outcome;

/// The dev binary, if this machine can carry a run out; if not, why.
fn possible() -> Result<PathBuf, String> {
    require().map_err(|error| error.to_string())?;
    bowline(None).map_err(|error| error.to_string())
}

fn plan(bowline: &Path, name: &str, workload: workload::Name, plant: Option<Plant>) -> Plan {
    Plan {
        workload,
        nemesis: Nemesis::Kill,
        nodes: 3,
        length: Duration::from_secs(3),
        hold_ms_max: 3000,
        seed: 7,
        plant,
        bowline: bowline.to_path_buf(),
        base: base(&format!("-{name}")),
        in_memory: true,
    }
}

#[test]
fn a_short_run_is_well_and_one_with_a_planted_anomaly_is_not() {
    let bowline = match possible() {
        Ok(bowline) => bowline,
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    let dir = base("-report");
    let well = play(&plan(&bowline, "a", workload::Name::Append, None), &dir).unwrap();
    assert!(well.is_well(), "{:?} {:?} {:?}", well.anomalies, well.findings, well.seen);
    assert!(well.count(Outcome::Answered) > 100 && !well.faults.is_empty(), "{:?}", well.faults);
    let planted = play(&plan(&bowline, "b", workload::Name::Set, Some(Plant::LostWrite)), &dir).unwrap();
    assert!(planted.anomalies.iter().any(|anomaly| anomaly.0.contains("lost")), "{:?}", planted.anomalies);
    drop(std::fs::remove_dir_all(dir));
}
