//! What the parser reads: sqlparser's permissive dialect, with lambdas (`x -> x + 1`) and without two of its liberties, a
//! `,` behind the last column of SELECT and a SELECT of no columns, which are slips of the pen more often than not.
//!
//! `IS DISTINCT FROM` binds as `IS` does.
//!
//! `->` makes a lambda everywhere; where it is JSON's operator, `scalar::syntax` has made it a call before.
//!
//! The parser tries things and goes back, at each level again: `CAST(` that fails as a cast is read as a call of a function.
//! A mistake behind 40 levels would cost 2^40 attempts, so attempts are counted, and there is an end to them.

use std::any::TypeId;
use std::cell::Cell;

use sqlparser::ast::Expr;
use sqlparser::dialect::{Dialect, GenericDialect};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};

/// Attempts at an expression that a statement has in any case, and so many more for each of its tokens. A statement that is
/// right needs at most about two a token.
const ATTEMPTS_MIN: usize = 5_000;
const ATTEMPTS_PER_TOKEN: usize = 20;

/// The dialect of all programs, for the parser of one statement.
#[derive(Debug)]
pub(crate) struct Grammar {
    attempts_left: Cell<usize>,
}

impl Grammar {
    /// For a statement of so many tokens.
    pub(crate) fn new(tokens: usize) -> Self {
        let attempts = tokens.saturating_mul(ATTEMPTS_PER_TOKEN).saturating_add(ATTEMPTS_MIN);
        Self { attempts_left: Cell::new(attempts) }
    }
}

/// Every liberty of [`GenericDialect`] that is named.
macro_rules! as_generic {
    ($($liberty:ident,)*) => {
        $(fn $liberty(&self) -> bool {
            GenericDialect.$liberty()
        })*
    };
}

impl Dialect for Grammar {
    /// Where the parser asks for dialects by name, this is the generic one.
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        GenericDialect.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        GenericDialect.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        GenericDialect.is_identifier_part(ch)
    }

    fn supports_lambda_functions(&self) -> bool {
        true
    }

    /// Counts; leaves the reading to the parser.
    fn parse_prefix(&self, _: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        match self.attempts_left.get().checked_sub(1) {
            Some(left) => {
                self.attempts_left.set(left);
                None
            }
            None => Some(Err(ParserError::RecursionLimitExceeded)),
        }
    }

    /// `a IS [NOT] DISTINCT FROM b`: b ends before AND and OR, as it does in PostgreSQL; sqlparser reads on.
    fn parse_infix(&self, parser: &mut Parser<'_>, left: &Expr, precedence: u8) -> Option<Result<Expr, ParserError>> {
        let is_distinct = parser.parse_keywords(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM]);
        if !is_distinct && !parser.parse_keywords(&[Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM]) {
            return None;
        }
        let kind = if is_distinct { Expr::IsDistinctFrom } else { Expr::IsNotDistinctFrom };
        Some(parser.parse_subexpr(precedence).map(|right| kind(Box::new(left.clone()), Box::new(right))))
    }

    as_generic! {
        supports_unicode_string_literal,
        supports_partition_by_after_order_by,
        supports_array_join_syntax,
        supports_group_by_expr,
        supports_group_by_with_modifier,
        supports_left_associative_joins_without_parens,
        supports_connect_by,
        supports_match_recognize,
        supports_pipe_operator,
        supports_start_transaction_modifier,
        supports_window_function_null_treatment_arg,
        supports_dictionary_syntax,
        supports_window_clause_named_window_reference,
        supports_parenthesized_set_variables,
        supports_select_wildcard_except,
        support_map_literal_syntax,
        allow_extract_custom,
        allow_extract_single_quotes,
        supports_extract_comma_syntax,
        supports_create_view_comment_syntax,
        supports_parens_around_table_factor,
        supports_values_as_table_factor,
        supports_create_index_with_clause,
        supports_explain_with_utility_options,
        supports_limit_comma,
        supports_update_order_by,
        supports_from_first_select,
        supports_asc_desc_in_column_definition,
        supports_try_convert,
        supports_bitwise_shift_operators,
        supports_comment_on,
        supports_load_extension,
        supports_named_fn_args_with_assignment_operator,
        supports_struct_literal,
        supports_nested_comments,
        supports_multiline_comment_hints,
        supports_user_host_grantee,
        supports_string_escape_constant,
        supports_array_typedef_with_brackets,
        supports_match_against,
        supports_set_names,
        supports_comma_separated_set_assignments,
        supports_filter_during_aggregation,
        supports_select_wildcard_exclude,
        supports_data_type_signed_suffix,
        supports_interval_options,
        supports_quote_delimited_string,
        supports_select_wildcard_replace,
        supports_select_wildcard_ilike,
        supports_select_wildcard_rename,
        supports_optimize_table,
        supports_install,
        supports_detach,
        supports_prewhere,
        supports_with_fill,
        supports_limit_by,
        supports_interpolate,
        supports_settings,
        supports_select_format,
        supports_comment_optimizer_hint,
        supports_constraint_keyword_without_name,
        supports_key_column_option,
        supports_comma_separated_trim,
        supports_cte_without_as,
        supports_select_item_multi_column_alias,
        supports_xml_expressions,
    }
}
