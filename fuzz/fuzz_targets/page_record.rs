//! A record of pages from the log: it is refused, or holds what it says and survives being written again.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sqlite::Record;

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    let Ok(record) = Record::decode(&bytes) else { return };
    assert!(record.version > record.base);
    assert!(record.pages.is_sorted_by(|a, b| a.number < b.number));
    assert!(record.pages.iter().all(|page| (1..=record.db_pages).contains(&page.number.0)));
    let written = record.encode();
    assert!(written.len() <= 48 + record.extra.len() + record.pages.len() * (Record::PAGE_LEN_MAX + 4));
    assert_eq!(Record::decode(&written).as_ref(), Ok(&record));
    // No front of a record is one.
    assert!(Record::decode(&bytes.slice(..bytes.len() - 1)).is_err());
});
