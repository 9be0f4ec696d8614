//! `LISTAGG(x [, separator])`, the name that Flink and the standard have for `string_agg`.
//!
//! ```text
//!   LISTAGG(x)                                 string_agg(x, ',')
//!   LISTAGG(x, ';') WITHIN GROUP (ORDER BY n)  string_agg(x, ';' ORDER BY n)
//! ```

use rheos_core::error::{Error, Result};
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Ident, ObjectName, Spanned,
};

use crate::dialect::text;
use crate::tokens::place;

/// The name, in lower case.
pub(crate) const NAME: &str = "listagg";

/// The call as one of `string_agg`, if it is one of this function. Errors: ON OVERFLOW.
pub(crate) fn rewritten(function: &Function) -> Result<Option<Expr>> {
    if !function.name.to_string().eq_ignore_ascii_case(NAME) {
        return Ok(None);
    }
    let at = function.name.span();
    let mut call = function.clone();
    call.name = ObjectName::from(vec![Ident { value: "string_agg".into(), quote_style: None, span: at }]);
    let order = std::mem::take(&mut call.within_group);
    if let FunctionArguments::List(list) = &mut call.args {
        if list.clauses.iter().any(|c| matches!(c, FunctionArgumentClause::OnOverflow(_))) {
            let error = Error::invalid(142, "ON OVERFLOW of LISTAGG is not supported yet");
            return Err(error.with_hint("take it away: texts may be as long as memory allows").with_span(place(at)));
        }
        if list.args.len() == 1 {
            list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(text(","))));
        }
        if !order.is_empty() {
            list.clauses.push(FunctionArgumentClause::OrderBy(order));
        }
    }
    Ok(Some(Expr::Function(call)))
}
