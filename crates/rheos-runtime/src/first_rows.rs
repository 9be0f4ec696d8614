//! Steps that need not give all rows, since their only reader wants the first ones alone. Pure.
//!
//! ```text
//!   auctions ──┐
//!              ├──► join ──► the highest bid of each auction: a join that knows this gives few of its pairs
//!   bids ──────┘
//! ```
//! Results, states and the ids of steps are the same with it and without it.

use std::sync::Arc;

use rheos_core::graph::{JobGraph, NodeKind};
use rheos_core::operator::FirstBy;
use rheos_core::{NodeId, OperatorFactory, Port};

/// The same job, whose steps leave out what nobody wants.
pub(crate) fn narrowed(graph: Arc<JobGraph>) -> Arc<JobGraph> {
    let narrower: Vec<_> = graph.ids().filter_map(|reader| giver(&graph, reader)).collect();
    if narrower.is_empty() {
        return graph;
    }
    let mut graph = Arc::unwrap_or_clone(graph);
    narrower.into_iter().for_each(|(giver, by)| graph.replace_operator(giver, by));
    Arc::new(graph)
}

/// What feeds a reader that wants the first rows, and what can stand in its place.
fn giver(graph: &JobGraph, reader: NodeId) -> Option<(NodeId, Arc<dyn OperatorFactory>)> {
    let first: FirstBy = factory(graph, reader)?.wants_first()?;
    let [edge] = graph.node(reader).inputs.as_slice() else { return None };
    let is_alone = edge.port == Port::MAIN && graph.readers(edge.from).len() == 1;
    let giving = factory(graph, edge.from).filter(|_| is_alone)?.giving_first(&first)?;
    Some((edge.from, giving))
}

fn factory(graph: &JobGraph, node: NodeId) -> Option<&Arc<dyn OperatorFactory>> {
    match &graph.node(node).kind {
        NodeKind::Stateful(factory) => Some(factory),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::compute::SortOptions;
    use arrow::datatypes::{Schema, SchemaRef};
    use rheos_core::graph::{Edge, Exchange};
    use rheos_core::operator::OperatorInit;
    use rheos_core::{Operator, Result};

    use super::*;

    /// Gives all its rows, or wants the first by a column, or gives those.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Step {
        Gives,
        Wants(usize),
        GivesFirst(usize),
    }

    impl OperatorFactory for Step {
        fn create(&self, _init: &OperatorInit) -> Result<Box<dyn Operator>> {
            unreachable!("nothing runs")
        }

        fn schema(&self) -> SchemaRef {
            Arc::new(Schema::empty())
        }

        fn describe(&self) -> Vec<(String, String)> {
            vec![("step".into(), format!("{self:?}"))]
        }

        fn wants_first(&self) -> Option<FirstBy> {
            let Step::Wants(column) = *self else { return None };
            Some(FirstBy { partition_by: vec![], column, options: SortOptions::default() })
        }

        fn giving_first(&self, first: &FirstBy) -> Option<Arc<dyn OperatorFactory>> {
            (*self == Step::Gives && first.column < 5).then(|| Arc::new(Step::GivesFirst(first.column)) as _)
        }
    }

    /// What the first of some steps is then. Each other one reads a port of the first.
    fn first_of(readers: &[(Step, Port)]) -> String {
        let mut graph = JobGraph::default();
        let from = graph.add("first", NodeKind::Stateful(Arc::new(Step::Gives)), vec![]);
        for (step, port) in readers {
            let edge = Edge { from, port: *port, exchange: Exchange::Forward };
            graph.add("reader", NodeKind::Stateful(Arc::new(*step)), vec![edge]);
        }
        let (id, graph) = (graph.node(from).operator_id.clone(), narrowed(Arc::new(graph)));
        assert_eq!(graph.node(from).operator_id, id);
        graph.node(from).describe().remove(0).1
    }

    #[test]
    fn who_has_one_reader_gives_what_that_one_wants() {
        let (wants, all) = ((Step::Wants(3), Port::MAIN), (Step::Gives, Port::MAIN));
        assert_eq!(first_of(&[wants]), "GivesFirst(3)");
        assert_eq!(first_of(&[all]), "Gives");
        assert_eq!(first_of(&[(Step::Wants(5), Port::MAIN)]), "Gives", "it cannot tell them");
        assert_eq!(first_of(&[wants, all]), "Gives", "another wants them all");
        assert_eq!(first_of(&[wants, (Step::Gives, Port::ERRORS)]), "Gives", "and another those that failed");
        assert_eq!(first_of(&[(Step::Wants(3), Port::LATE)]), "Gives", "they come by another port");
    }
}
