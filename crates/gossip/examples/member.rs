//! One member of a gossip group, as the daemon runs it, that prints what it learns: for `cargo xtask bench swim`.
//!
//! `member --bind 127.0.0.1:7001 --id 1 [--seed 127.0.0.1:7000] [--period 1]`. It prints `ready`, and then for every change of a member's status
//! `MICROSECONDS ID STATUS`: the time since the Unix epoch, who, and what is believed of it now. A line `join IP:PORT` on its standard input is
//! another seed; where the input ends, so does the member, silently.

use gossip::{Gossip, Told};
use lifecycle::Scope;
use rt::net::BoundUdp;
use std::error::Error;
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::time::Duration;
use swim::{Changes, Config, GroupKey, Label, MemberId, Timing, Trust};

const USAGE: &str = "member --bind IP:PORT --id NUMBER [--seed IP:PORT].. [--period SECONDS]";

struct Options {
    bind: SocketAddr,
    id: MemberId,
    seeds: Vec<SocketAddr>,
    period: Duration,
}

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let (mut bind, mut id, mut seeds, mut period) = (None, None, Vec::new(), 1.0);
        while let Some(word) = words.next() {
            let value = words.next().ok_or(USAGE)?;
            match word.as_str() {
                "--bind" => bind = Some(value.parse()?),
                "--id" => id = Some(format!("00000000-0000-4000-8000-{value:0>12}").parse()?),
                "--seed" => seeds.push(value.parse()?),
                "--period" => period = value.parse()?,
                _ => return Err(USAGE.into()),
            }
        }
        let period = Duration::try_from_secs_f64(period)?;
        Ok(Self { bind: bind.ok_or(USAGE)?, id: id.ok_or(USAGE)?, seeds, period })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::read(std::env::args().skip(1))?;
    let socket = BoundUdp::bind(&options.bind.to_string()).await?;
    let config = Config {
        timing: Timing::of(options.period),
        // The daemon signs: what that costs belongs into the measurement.
        trust: Trust::Signed(vec![GroupKey([7; 32])]),
        label: Some(Label::of("bench")),
        ..Config::new(options.id, options.bind, u64::try_from(rt::time::wall().as_micros())?)
    };
    let scope = Scope::new("member");
    say("ready")?;
    let gossip = Gossip::start(config, socket, Some(Box::new(tell)), &scope)?;
    let mut seeds = options.seeds;
    loop {
        gossip.set_seeds(seeds.clone()).await?;
        if let Some(newest) = seeds.last() {
            gossip.probe(*newest).await?;
        }
        let read = rt::blocking::run(|| std::io::stdin().lock().lines().next().transpose());
        match read.await.map_err(|end| format!("reading: {end:?}"))?? {
            Some(line) => seeds.push(line.strip_prefix("join ").ok_or("not a join")?.parse()?),
            None => return Ok(()),
        }
    }
}

fn tell(told: &Told) {
    let changes = told.event.changes;
    let status = if changes.has(Changes::DROP) {
        "dropped".to_owned()
    } else if changes.has(Changes::NEW) || changes.has(Changes::STATUS) {
        told.event.status.to_string()
    } else {
        return;
    };
    // Whoever listened is gone, and with it the input: the member ends by that.
    drop(say(&format!("{} {} {status}", told.at.as_micros(), told.event.id)));
}

fn say(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
