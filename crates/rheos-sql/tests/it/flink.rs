//! What programs written for Flink say and Rheos needs no word of: they mean the same without it.

use rheos_sql::explain;

use crate::fakes::{TABLES, plan};

const INSERTS: &str =
    "INSERT INTO out SELECT 1, 'a'; INSERT INTO out SELECT auction, CASE WHEN price > 1 THEN url END FROM bid;";

fn graph(program: &str) -> String {
    let planned = plan(&format!("{TABLES}{program}")).unwrap_or_else(|e| panic!("{program}: {e}"));
    explain(&planned.graph.unwrap_or_else(|| panic!("{program} has no job")))
}

#[test]
fn a_statement_set_is_the_inserts_in_it() {
    let forms = [
        format!("EXECUTE STATEMENT SET BEGIN {INSERTS} END"),
        format!("execute statement set begin {INSERTS} end;"),
        format!("BEGIN STATEMENT SET; {INSERTS} END;"),
    ];
    for form in forms {
        assert_eq!(graph(&form), graph(INSERTS), "{form}");
    }
}

#[test]
fn a_function_that_is_built_in_may_be_declared() {
    let declarations = [
        "CREATE FUNCTION count_char AS 'org.example.CountChar';",
        "CREATE TEMPORARY SYSTEM FUNCTION IF NOT EXISTS COUNT_CHAR AS 'org.example.CountChar' LANGUAGE JAVA;",
        "CREATE FUNCTION ifnull AS 'org.example.IfNull' USING JAR 'a.jar', JAR 'b.jar';",
    ];
    let insert = "INSERT INTO out SELECT count_char(url, 'c'), url FROM bid;";
    for declaration in declarations {
        assert_eq!(graph(&format!("{declaration}{insert}")), graph(insert), "{declaration}");
    }
}
