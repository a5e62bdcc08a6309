//! The ring of records: numbers, chain, loss and acknowledgement.

use crate::fixture::{Rig, sha256};
use eyeflow_link::{RECORD_BYTES_MAX, Records, Request};

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Read everything as a host does; gives the first number and the records, and checks the chain.
fn read(rig: &mut Rig) -> (u32, Vec<Vec<u8>>) {
    let info = rig.ask(Request::RecordsInfo as u8, b"");
    let (oldest, next) = (number(&info, 1), number(&info, 5));
    let mut chain: [u8; 32] = info[13..45].try_into().unwrap();
    let mut records: Vec<Vec<u8>> = vec![];
    while oldest + (records.len() as u32) < next {
        let wanted = oldest + records.len() as u32;
        let answer = rig.ask(Request::RecordsRead as u8, &wanted.to_le_bytes());
        assert_eq!(number(&answer, 1), wanted);
        let mut rest = &answer[5..];
        assert!(!rest.is_empty());
        while let Some((&length, more)) = rest.split_first() {
            let (record, more) = more.split_at(usize::from(length));
            records.push(record.to_vec());
            rest = more;
        }
    }
    for (index, record) in records.iter().enumerate() {
        let mut bytes = chain.to_vec();
        bytes.extend((oldest + index as u32).to_le_bytes());
        bytes.extend(record);
        chain = sha256(&bytes);
    }
    assert_eq!(chain, info[45..77], "the chain fits");
    (oldest, records)
}

#[test]
fn what_fits_the_ring_survives_a_lost_link() {
    let mut rig = Rig::new();
    let records: Vec<Vec<u8>> = (0..6).map(|index| vec![index + 1; 31]).collect();
    records.iter().for_each(|record| rig.board.records.push(record));
    assert_eq!(read(&mut rig), (0, records.clone()));
    assert_eq!(read(&mut rig), (0, records.clone()), "they stay until they are acknowledged");
    assert_eq!(rig.ask(Request::RecordsAck as u8, &4_u32.to_le_bytes()), [0]);
    assert_eq!(rig.ask(Request::RecordsAck as u8, &4_u32.to_le_bytes()), [0], "twice is no harm");
    assert_eq!(read(&mut rig), (4, records[4..].to_vec()));
}

#[test]
fn a_full_ring_drops_the_oldest_and_says_so() {
    let mut rig = Rig::new();
    for index in 0..1000_u32 {
        rig.board.records.push(&index.to_le_bytes());
        if index % 17 == 0 {
            let (oldest, records) = read(&mut rig);
            let expected: Vec<_> = (oldest..=index).map(|index| index.to_le_bytes().to_vec()).collect();
            assert_eq!(records, expected);
        }
    }
    let info = rig.ask(Request::RecordsInfo as u8, b"");
    assert_eq!((number(&info, 1), number(&info, 5), number(&info, 9)), (960, 1000, 960));
}

#[test]
fn strange_numbers_change_nothing() {
    let mut rig = Rig::new();
    rig.board.records.push(b"one");
    for sequence in [2, 77, u32::MAX] {
        rig.ask(Request::RecordsAck as u8, &u32::to_le_bytes(sequence));
        assert_eq!(read(&mut rig), (0, vec![b"one".to_vec()]));
    }
    let answer = rig.ask(Request::RecordsRead as u8, &77_u32.to_le_bytes());
    assert_eq!(answer, b"\x00\x00\x00\x00\x00\x03one");
}

#[test]
fn records_that_do_not_fit_are_counted() {
    let mut records = Records::new([0; 50], sha256, [0; 32]);
    records.push(&[1; RECORD_BYTES_MAX + 1]);
    records.push(&[1; 50]);
    records.push(b"");
    records.push(&[1; 49]);
    let mut reply = eyeflow_link::Reply::new();
    records.describe(&mut reply);
    assert_eq!(reply.as_bytes()[..12], [0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0]);
}
