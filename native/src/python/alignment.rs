//! Oblivious transfer of keys, and the two sides of the oblivious function of identifiers.

use std::sync::Mutex;

use numpy::PyArrayDyn;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use zeroize::Zeroizing;

use super::arrays::{Dim, Input, grouped, output, seed};
use super::group::{SecretScalar, with_ids};
use super::{batch, batch_on, here_on, raised};
use crate::asker::{self, Asker, BATCH, rows_for};
use crate::check::COMBINATIONS;
use crate::code::{LENGTH, Row, Value, WORDS};
use crate::evaluator::Evaluator;
use crate::points::Encoding;
use crate::transfer::{self, Key, Tag, Taker};

/// The bytes of a row.
const ROW: usize = 8 * WORDS;
const VALUE: usize = 16;

type Bytes = Py<PyArrayDyn<u8>>;

fn not_pickled<T>(name: &str) -> PyResult<T> {
    Err(PyTypeError::new_err(format!("{name} cannot be pickled")))
}

fn rows_of(bytes: &[u8]) -> Vec<Row> {
    let row = |chunk: &[u8; ROW]| {
        let mut row = [0; WORDS];
        for (word, chunk) in row.iter_mut().zip(chunk.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*chunk);
        }
        row
    };
    bytes.as_chunks::<ROW>().0.iter().map(row).collect()
}

fn bytes_of(rows: &[Row]) -> Vec<u8> {
    let mut bytes = vec![0; ROW * rows.len()];
    let chunks = bytes.as_chunks_mut::<8>().0;
    for (chunk, word) in chunks.iter_mut().zip(rows.as_flattened()) {
        *chunk = word.to_le_bytes();
    }
    bytes
}

/// A party's choice of one key of each two, and what opens it; zeroised on drop.
#[pyclass(frozen, module = "parley._native")]
struct KeyTaker {
    taker: Taker,
}

#[pymethods]
impl KeyTaker {
    #[staticmethod]
    #[pyo3(name = "from_seed", signature = (seed, dst))]
    fn derive(py: Python<'_>, seed: &[u8], dst: &[u8]) -> PyResult<Self> {
        let bytes = Zeroizing::new(self::seed("seed", seed)?);
        let taker = batch(py, 1, || Taker::new(&bytes, dst))?;
        Ok(Self { taker })
    }

    fn offers(&self, py: Python<'_>) -> PyResult<Bytes> {
        let points = self.taker.offers().as_flattened().as_flattened().to_vec();
        output(py, points, &[LENGTH, 2, 32])
    }

    fn __repr__(&self) -> &'static str {
        "KeyTaker(redacted)"
    }

    fn __reduce__(&self) -> PyResult<()> {
        not_pickled("a KeyTaker")
    }
}

/// Both keys of each two; zeroised on drop.
#[pyclass(frozen, module = "parley._native")]
struct KeyGiver {
    point: Encoding,
    keys: [Zeroizing<Vec<Key>>; 2],
}

#[pymethods]
impl KeyGiver {
    #[staticmethod]
    #[pyo3(signature = (offers, secret, dst, tag))]
    fn answer(
        offers: &Bound<'_, PyAny>,
        secret: &SecretScalar,
        dst: &[u8],
        tag: &[u8],
    ) -> PyResult<Self> {
        let shape = [Dim::Is(LENGTH), Dim::Is(2), Dim::Is(32)];
        let checked = Input::<u8>::checked("offers", offers, &shape)?;
        let pairs = grouped::<32>(checked.elements()?).as_chunks::<2>().0;
        let keys = self::seed("tag", tag)?;
        let tag = Tag {
            hashing: dst,
            keys: &keys,
        };
        let (point, keys) = batch(offers.py(), 1, || {
            transfer::give(pairs, &secret.scalar, &tag)
        })?;
        Ok(Self { point, keys })
    }

    #[getter]
    fn point<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.point)
    }

    fn __repr__(&self) -> &'static str {
        "KeyGiver(redacted)"
    }

    fn __reduce__(&self) -> PyResult<()> {
        not_pickled("a KeyGiver")
    }
}

/// The store of a party's identifiers, and the rows that hide it; zeroised on drop.
#[pyclass(frozen, module = "parley._native")]
struct AskerRows {
    asker: Mutex<Asker>,
}

#[pymethods]
impl AskerRows {
    #[staticmethod]
    #[pyo3(signature = (data, spans, pair, keys, seed, threads))]
    fn build(
        data: &Bound<'_, PyAny>,
        spans: &Bound<'_, PyAny>,
        pair: &[u8],
        keys: &KeyGiver,
        seed: &[u8],
        threads: usize,
    ) -> PyResult<Option<Self>> {
        let pair = self::seed("pair", pair)?;
        let seed = Zeroizing::new(self::seed("seed", seed)?);
        let py = data.py();
        let asker = with_ids(data, spans, |ids| {
            batch(py, threads, || Asker::new(ids, &pair, &keys.keys, &seed))
        })?;
        Ok(asker.map(|asker| Self {
            asker: Mutex::new(asker),
        }))
    }

    fn masked(
        &self,
        py: Python<'_>,
        first: usize,
        count: usize,
        threads: usize,
    ) -> PyResult<Bytes> {
        let bytes = batch_on(py, threads, &self.asker, |asker| {
            Ok(bytes_of(&asker.masked(first, count)?))
        })?;
        output(py, bytes, &[count, ROW])
    }

    fn answer(&self, py: Python<'_>, challenge: &[u8], threads: usize) -> PyResult<(Bytes, Bytes)> {
        let challenge = self::seed("challenge", challenge)?;
        let (rows, values) = batch_on(py, threads, &self.asker, |asker| asker.answer(&challenge))?;
        let values: Vec<u8> = values.iter().flat_map(|value| value.to_bytes()).collect();
        Ok((
            output(py, bytes_of(&rows), &[COMBINATIONS, ROW])?,
            output(py, values, &[COMBINATIONS, VALUE])?,
        ))
    }

    fn digests(
        &self,
        data: &Bound<'_, PyAny>,
        spans: &Bound<'_, PyAny>,
        threads: usize,
    ) -> PyResult<Bytes> {
        let py = data.py();
        let digests = with_ids(data, spans, |ids| {
            batch_on(py, threads, &self.asker, |asker| asker.digests(ids))
        })?;
        shorts(py, digests)
    }

    fn __repr__(&self) -> &'static str {
        "AskerRows(redacted)"
    }

    fn __reduce__(&self) -> PyResult<()> {
        not_pickled("AskerRows")
    }
}

/// A party's secret word, and the rows that came of the other's; zeroised on drop.
#[pyclass(frozen, module = "parley._native")]
struct EvaluatorRows {
    evaluator: Mutex<Evaluator>,
}

#[pymethods]
impl EvaluatorRows {
    #[staticmethod]
    #[pyo3(signature = (keys, point, tag, pair, count))]
    fn expect(
        py: Python<'_>,
        keys: &KeyTaker,
        point: &[u8],
        tag: &[u8],
        pair: &[u8],
        count: usize,
    ) -> PyResult<Self> {
        let point = self::seed("point", point)?;
        let [tag, pair] = [self::seed("tag", tag)?, self::seed("pair", pair)?];
        let evaluator = batch(py, 1, || {
            Evaluator::new(&keys.taker, &point, &tag, &pair, count)
        })?;
        Ok(Self {
            evaluator: Mutex::new(evaluator),
        })
    }

    fn take(&self, first: usize, masked: &Bound<'_, PyAny>, threads: usize) -> PyResult<()> {
        let py = masked.py();
        let masked = Input::<u8>::checked("masked", masked, &[Dim::Free("n"), Dim::Is(ROW)])?;
        let bytes = masked.elements()?;
        batch_on(py, threads, &self.evaluator, |evaluator| {
            evaluator.take(first, &mut rows_of(bytes))
        })
    }

    fn agrees(
        &self,
        challenge: &[u8],
        rows: &Bound<'_, PyAny>,
        values: &Bound<'_, PyAny>,
        threads: usize,
    ) -> PyResult<bool> {
        let py = rows.py();
        let challenge = self::seed("challenge", challenge)?;
        let sized = |width| [Dim::Is(COMBINATIONS), Dim::Is(width)];
        let rows = Input::<u8>::checked("rows", rows, &sized(ROW))?;
        let values = Input::<u8>::checked("values", values, &sized(VALUE))?;
        let chunks = values.elements()?.as_chunks::<8>().0.as_chunks::<2>().0;
        let sums: Vec<Value> = chunks
            .iter()
            .map(|words| Value::from_bits(words.map(u64::from_le_bytes)))
            .collect();
        let filled = sums.iter().zip(values.elements()?.as_chunks::<VALUE>().0);
        if filled
            .into_iter()
            .any(|(sum, bytes)| sum.to_bytes() != *bytes)
        {
            return Ok(false);
        }
        let answer = (rows_of(rows.elements()?), sums);
        batch_on(py, threads, &self.evaluator, |evaluator| {
            evaluator.agrees(&challenge, &answer)
        })
    }

    fn digests(
        &self,
        data: &Bound<'_, PyAny>,
        spans: &Bound<'_, PyAny>,
        threads: usize,
    ) -> PyResult<Bytes> {
        let py = data.py();
        let digests = with_ids(data, spans, |ids| {
            if ids.len() <= BATCH {
                return here_on(py, &self.evaluator, |evaluator| evaluator.digests(ids));
            }
            batch_on(py, threads, &self.evaluator, |evaluator| {
                evaluator.digests(ids)
            })
        })?;
        shorts(py, digests)
    }

    fn __repr__(&self) -> &'static str {
        "EvaluatorRows(redacted)"
    }

    fn __reduce__(&self) -> PyResult<()> {
        not_pickled("EvaluatorRows")
    }
}

fn shorts(py: Python<'_>, digests: Vec<asker::Short>) -> PyResult<Bytes> {
    let shape = [digests.len(), size_of::<asker::Short>()];
    output(py, digests.into_flattened(), &shape)
}

/// How many rows so many identifiers make.
#[pyfunction]
fn rows_of_ids(py: Python<'_>, count: usize) -> PyResult<usize> {
    rows_for(count).map_err(|fault| raised(py, &fault))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<KeyTaker>()?;
    module.add_class::<KeyGiver>()?;
    module.add_class::<AskerRows>()?;
    module.add_class::<EvaluatorRows>()?;
    module.add_function(wrap_pyfunction!(rows_of_ids, module)?)
}
