//! Directions, margins, and what is committed of answered predictions.

use numpy::PyArrayDyn;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use zeroize::Zeroizing;

use super::arrays::{Dim, Input, grouped, output, seed};
use super::encryption::check_first;
use super::group::with_ids;
use super::raised;
use crate::directions::Splits;
use crate::fault::Fault;
use crate::forest;
use crate::merkle;
use crate::predictions::Answers;

/// Runs `work`, which says itself on how many threads, without the GIL.
fn detached<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T, Fault> + Send,
) -> PyResult<T> {
    py.detach(work).map_err(|fault| raised(py, &fault))
}

#[pyfunction]
fn row_directions(
    codes: &Bound<'_, PyAny>,
    rows: &Bound<'_, PyAny>,
    columns: &Bound<'_, PyAny>,
    left: &Bound<'_, PyAny>,
    threads: usize,
) -> PyResult<Py<PyArrayDyn<u8>>> {
    let py = codes.py();
    let codes = Input::<u8>::checked("codes", codes, &[Dim::Free("columns"), Dim::Free("rows")])?;
    let rows = Input::<i64>::checked("rows", rows, &[Dim::Free("m")])?;
    let columns = Input::<u32>::checked("columns", columns, &[Dim::Free("splits")])?;
    let left = Input::<u8>::checked("left", left, &[Dim::Is(columns.size(0)), Dim::Is(32)])?;
    let shape = (codes.size(0), codes.size(1));
    let (codes, rows) = (codes.elements()?, rows.elements()?);
    let (columns, left) = (columns.elements()?, grouped(left.elements()?));
    let (packed, width) = detached(py, || {
        let splits = Splits::checked(codes, shape, columns, left)?;
        Ok((splits.directions(rows, threads)?, splits.width()))
    })?;
    output(py, packed, &[rows.len(), width])
}

/// The trees of a model.
#[pyclass(frozen, module = "parley._native")]
struct Forest {
    forest: forest::Forest,
    trees: usize,
}

#[pymethods]
impl Forest {
    #[new]
    fn new(
        outputs: usize,
        splits: &Bound<'_, PyAny>,
        trees: &Bound<'_, PyAny>,
        nodes: &Bound<'_, PyAny>,
        values: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let py = splits.py();
        let splits = Input::<u32>::checked("splits", splits, &[Dim::Free("owners")])?;
        let trees = Input::<u32>::checked("trees", trees, &[Dim::Free("trees"), Dim::Is(2)])?;
        let nodes = Input::<u32>::checked("nodes", nodes, &[Dim::Free("nodes"), Dim::Is(3)])?;
        let values = Input::<f64>::checked("values", values, &[Dim::Is(nodes.size(0))])?;
        let (splits, values) = (splits.elements()?, values.elements()?);
        let (trees, nodes) = (trees.elements()?.as_chunks().0, nodes.elements()?);
        let nodes = nodes.as_chunks().0;
        let forest = detached(py, || {
            forest::Forest::new(outputs, splits, trees, nodes, values)
        })?;
        Ok(Self {
            forest,
            trees: trees.len(),
        })
    }

    fn __len__(&self) -> usize {
        self.trees
    }
}

#[pyfunction]
fn forest_margins(
    py: Python<'_>,
    forest: &Forest,
    left: Vec<Bound<'_, PyAny>>,
    initial: &Bound<'_, PyAny>,
    threads: usize,
) -> PyResult<Py<PyArrayDyn<f64>>> {
    let forest = &forest.forest;
    let initial = Input::<f64>::checked("initial", initial, &[Dim::Is(forest.outputs())])?;
    let mut inputs: Vec<Input<'_, u8>> = Vec::with_capacity(left.len());
    for (owner, (left, &width)) in left.iter().zip(forest.widths()).enumerate() {
        let rows = inputs
            .first()
            .map_or(Dim::Free("m"), |first| Dim::Is(first.size(0)));
        let shape = [rows, Dim::Is(width)];
        inputs.push(Input::checked(&format!("left[{owner}]"), left, &shape)?);
    }
    let rows = inputs.first().map_or(0, |first| first.size(0));
    let own: PyResult<Vec<&[u8]>> = inputs.iter().map(Input::elements).collect();
    let (mut own, initial) = (own?, initial.elements()?);
    // more of them than owners: the forest says so
    own.extend((inputs.len()..left.len()).map(|_| &[][..]));
    let margins = detached(py, || forest.margins(&own, rows, initial, threads))?;
    output(py, margins, &[forest.outputs(), rows])
}

#[pyfunction]
#[pyo3(signature = (data, spans, basis, margins, key, first, threads))]
fn prediction_leaves(
    data: &Bound<'_, PyAny>,
    spans: &Bound<'_, PyAny>,
    basis: &Bound<'_, PyAny>,
    margins: &Bound<'_, PyAny>,
    key: &[u8],
    first: u64,
    threads: usize,
) -> PyResult<Py<PyArrayDyn<u8>>> {
    let py = data.py();
    let key = Zeroizing::new(seed("key", key)?);
    let leaves = with_ids(data, spans, |ids| {
        let rows = Dim::Is(ids.len());
        let basis = Input::<u8>::checked("basis", basis, &[rows])?;
        let margins = Input::<f64>::checked("margins", margins, &[Dim::Free("outputs"), rows])?;
        check_first(first, ids.len())?;
        let outputs = margins.size(0);
        let (basis, margins) = (basis.elements()?, margins.elements()?);
        detached(py, || {
            Answers::checked(ids, basis, margins, outputs)?.leaves(&key, first, threads)
        })
    })?;
    let shape = [leaves.len(), 32];
    output(py, leaves.into_flattened(), &shape)
}

#[pyfunction]
fn merkle_root<'py>(leaves: &Bound<'py, PyAny>, threads: usize) -> PyResult<Bound<'py, PyBytes>> {
    let py = leaves.py();
    let leaves = Input::<u8>::checked("leaves", leaves, &[Dim::Free("n"), Dim::Is(32)])?;
    let hashes = grouped(leaves.elements()?);
    let root = detached(py, || merkle::root(hashes, threads))?;
    Ok(PyBytes::new(py, &root))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Forest>()?;
    module.add_function(wrap_pyfunction!(row_directions, module)?)?;
    module.add_function(wrap_pyfunction!(forest_margins, module)?)?;
    module.add_function(wrap_pyfunction!(prediction_leaves, module)?)?;
    module.add_function(wrap_pyfunction!(merkle_root, module)?)
}
