//! What files tell about themselves reaches their rows.

use super::*;
use arrow::array::Array;
use rheos_core::connector::MetadataColumn;
use std::time::UNIX_EPOCH;

/// A moment between two milliseconds, in microseconds since 1970.
const CHANGED: u64 = 1_714_521_600_123_456;

fn sourced(path: &Path) -> TableDefinition {
    let column =
        |name: &str, key: &str, data_type: DataType| MetadataColumn { name: name.into(), key: key.into(), data_type };
    let metadata = vec![
        column("path", "file.path", DataType::Utf8),
        column("name", "file.name", DataType::Utf8View),
        column("size", "file.size", DataType::Int64),
        column("changed", "file.modification-time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
    ];
    let stored = schema(&[("day", DataType::Int64), ("n", DataType::Int64)]);
    TableDefinition { partitioned_by: vec!["day".into()], metadata, ..table(path, &stored, &[CSV]) }
}

/// Two files: (day 1, n 10 and 11) in `a.csv`, (day 2, n 20) in `b.csv`.
fn files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (day, name, text) in [("day=1", "a.csv", "n\n10\n11\n"), ("day=2", "b.csv", "n\n20\n")] {
        fs::create_dir(folder.path().join(day)).unwrap();
        let path = write(&folder.path().join(day), name, text.as_bytes());
        let file = fs::File::options().append(true).open(path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_micros(CHANGED)).unwrap();
    }
    folder
}

#[test]
fn a_file_tells_where_its_rows_come_from() {
    let folder = files();
    let source = FileSource::try_new(&sourced(folder.path())).unwrap();
    let names: Vec<_> = source.schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["day", "n", "path", "name", "size", "changed"]);
    let mut got = vec![];
    for batch in read_source(&source).unwrap().batches {
        assert_eq!(batch.schema(), source.schema());
        let int = |c: usize, row: usize| batch.column(c).as_primitive::<Int64Type>().value(row);
        let changed: &TimestampMicrosecondArray = batch.column(5).as_any().downcast_ref().unwrap();
        for row in 0..batch.num_rows() {
            let (path, name) =
                (batch.column(2).as_string::<i32>().value(row), batch.column(3).as_string_view().value(row));
            assert_eq!(path, folder.path().join(format!("day={}", int(0, row))).join(name).to_str().unwrap());
            // Milliseconds, as Flink gives them.
            assert_eq!(changed.value(row), 1_714_521_600_123_000);
            got.push((int(0, row), int(1, row), name.to_string(), int(4, row)));
        }
    }
    got.sort();
    let want = [(1, 10, "a.csv", 8), (1, 11, "a.csv", 8), (2, 20, "b.csv", 5)];
    assert_eq!(got, want.map(|(day, n, name, size)| (day, n, name.to_string(), size)));
}

#[test]
fn metadata_can_be_read_alone_and_left_away() {
    let folder = files();
    let source = FileSource::try_new(&sourced(folder.path())).unwrap();
    let sizes = read_source(source.project(&[4]).unwrap().as_ref()).unwrap();
    assert_eq!(sizes.ints(), [Some(8), Some(8), Some(5)]);
    let columns = source.project(&[1, 4]).unwrap().project(&[0]).unwrap();
    assert_eq!(read_source(columns.as_ref()).unwrap().ints(), [Some(10), Some(11), Some(20)]);
}

#[test]
fn metadata_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let table = sourced(folder.path());
    assert_eq!(FileSink::try_new(&table).unwrap().schema(), table.schema);
}
