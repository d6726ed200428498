//! A history as a Parquet file: a row a line, for data frames and query engines.

use std::sync::Arc;

use anyhow::Context as _;
use parquet::{
    data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type},
    file::{
        properties::WriterProperties,
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::parser::parse_message_type,
};

use super::Line;

/// A column: its type, and how a line has it.
#[derive(Clone, Copy)]
enum Column {
    Text(fn(&Line) -> &str),
    Whole(fn(&Line) -> u64),
    Number(fn(&Line) -> f64),
    Flag(fn(&Line) -> bool),
}

use Column::{Flag, Number, Text, Whole};

/// The columns: the fields of a line, by their names.
const COLUMNS: [(&str, Column); 22] = [
    ("started", Text(|line| &line.started)),
    ("scenario", Text(|line| &line.scenario)),
    ("kernel", Text(|line| &line.kernel)),
    ("xen_role", Text(|line| &line.xen_role)),
    ("version", Text(|line| &line.version)),
    ("partial", Flag(|line| line.partial)),
    ("lost_share", Number(|line| line.lost_share)),
    ("domain", Text(|line| &line.domain)),
    ("datapath", Text(|line| &line.datapath)),
    ("device", Text(|line| &line.device)),
    ("operation", Text(|line| &line.operation)),
    ("stage", Text(|line| &line.stage)),
    (
        "component",
        Text(|line| line.component.map_or("", |own| own.name())),
    ),
    ("iterations", Whole(|line| line.iterations)),
    ("count", Whole(|line| line.count)),
    ("mean_ns", Number(|line| line.mean_ns)),
    ("p50_ns", Whole(|line| line.p50_ns)),
    ("p99_ns", Whole(|line| line.p99_ns)),
    ("max_ns", Whole(|line| line.max_ns)),
    ("variance_ns2", Number(|line| line.variance_ns2)),
    ("share_of_mean", Number(|line| line.share_of_mean)),
    ("share_of_variance", Number(|line| line.share_of_variance)),
];

/// Renders a history.
///
/// # Errors
/// If it cannot be encoded.
pub fn render(lines: &[Line]) -> anyhow::Result<Vec<u8>> {
    let fields: String = COLUMNS
        .iter()
        .map(|(name, column)| match column {
            Text(_) => format!("REQUIRED BYTE_ARRAY {name} (UTF8); "),
            Whole(_) => format!("REQUIRED INT64 {name}; "),
            Number(_) => format!("REQUIRED DOUBLE {name}; "),
            Flag(_) => format!("REQUIRED BOOLEAN {name}; "),
        })
        .collect();
    let schema = parse_message_type(&format!("message history {{ {fields} }}"))?;
    let properties = Arc::new(WriterProperties::builder().build());
    let mut bytes = Vec::new();
    let mut file = SerializedFileWriter::new(&mut bytes, Arc::new(schema), properties)?;
    let mut rows = file.next_row_group()?;
    for (name, column) in COLUMNS {
        let mut out = rows
            .next_column()?
            .with_context(|| format!("no column {name}"))?;
        write(&mut out, column, lines)?;
        out.close()?;
    }
    rows.close()?;
    file.close()?;
    Ok(bytes)
}

fn write(
    out: &mut SerializedColumnWriter<'_>,
    column: Column,
    lines: &[Line],
) -> anyhow::Result<()> {
    match column {
        Text(of) => {
            let values: Vec<ByteArray> = lines.iter().map(|line| of(line).into()).collect();
            out.typed::<ByteArrayType>()
                .write_batch(&values, None, None)?;
        }
        Whole(of) => {
            let whole = |line| i64::try_from(of(line)).unwrap_or(i64::MAX);
            let values: Vec<i64> = lines.iter().map(whole).collect();
            out.typed::<Int64Type>().write_batch(&values, None, None)?;
        }
        Number(of) => {
            let values: Vec<f64> = lines.iter().map(of).collect();
            out.typed::<DoubleType>().write_batch(&values, None, None)?;
        }
        Flag(of) => {
            let values: Vec<bool> = lines.iter().map(of).collect();
            out.typed::<BoolType>().write_batch(&values, None, None)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use parquet::{
        file::reader::{FileReader as _, SerializedFileReader},
        record::RowAccessor as _,
    };

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let line = |count: u64| -> Line {
            serde_json::from_value(serde_json::json!({
                "schema": super::super::SCHEMA, "started": "2026", "scenario": "ä", "kernel": "6.12",
                "xen_role": "", "version": "0", "partial": count > 1, "lost_share": 0.5, "domain": "B",
                "datapath": "disk/vbd", "device": "xvda", "operation": "read", "stage": "total",
                "component": "ring", "iterations": 5, "count": count, "mean_ns": 1.25, "p50_ns": 1,
                "p99_ns": 2, "max_ns": u64::MAX, "variance_ns2": 0.0, "share_of_mean": 1.0,
                "share_of_variance": -0.5
            }))
            .unwrap()
        };
        let bytes = render(&[line(1), line(2)]).unwrap();
        let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
        let rows: Vec<_> = reader
            .get_row_iter(None)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!((rows.len(), rows[0].len()), (2, COLUMNS.len()));
        assert_eq!(rows[1].get_string(1).unwrap(), "ä");
        assert!(rows[1].get_bool(5).unwrap() && !rows[0].get_bool(5).unwrap());
        assert_eq!(rows[0].get_string(12).unwrap(), "ring");
        assert_eq!(rows[1].get_long(14).unwrap(), 2);
        assert!((rows[0].get_double(15).unwrap() - 1.25).abs() < 1e-12);
        assert_eq!(rows[0].get_long(18).unwrap(), i64::MAX);
        let none = SerializedFileReader::new(bytes::Bytes::from(render(&[]).unwrap())).unwrap();
        assert_eq!(none.metadata().file_metadata().num_rows(), 0);
    }
}
