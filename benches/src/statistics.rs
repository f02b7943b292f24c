//! Figures that a few disturbed measurements do not move.

/// A figure and the interval that it lies in.
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
}

/// The middle one.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    quantile(values, 0.5)
}

/// The one below which this part of all lies.
pub fn quantile(values: impl IntoIterator<Item = f64>, part: f64) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else { return f64::NAN };
    let at = part * last as f64;
    let (below, above) = (values[at.floor() as usize], values[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

/// How often the rounds are drawn anew.
const DRAWS: usize = 1000;

/// A figure that is found from rounds, given by number, with its 95 % bootstrap interval: what it would have been had
/// other rounds of the same kind happened to be measured. Each round has all that is compared in it.
pub fn estimate(rounds: usize, figure: impl Fn(&[usize]) -> f64) -> Estimate {
    let all: Vec<usize> = (0..rounds).collect();
    let mut random = Random::new();
    let drawn: Vec<f64> =
        (0..DRAWS).map(|_| figure(&all.iter().map(|_| random.below(rounds)).collect::<Vec<_>>())).collect();
    let ends = |part| quantile(drawn.iter().copied(), part);
    Estimate { value: figure(&all), low: ends(0.025), high: ends(0.975) }
}

/// Numbers that look random, and are the same in each run (xorshift64).
pub struct Random(u64);

impl Random {
    /// From the beginning.
    pub fn new() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }

    /// One of 0 to n - 1.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    /// 0 to n - 1 in some order.
    pub fn order(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i + 1));
        }
        order
    }
}

/// Measures each of `n` things once per round, in a new order each time, so that whatever disturbs the machine
/// disturbs all of them alike. The result is by thing, then by round.
pub fn round_robin<T>(
    n: usize,
    rounds: usize,
    mut measure: impl FnMut(usize) -> crate::Result<T>,
) -> crate::Result<Vec<Vec<T>>> {
    let mut results: Vec<Vec<T>> = (0..n).map(|_| Vec::with_capacity(rounds)).collect();
    let mut random = Random::new();
    for _ in 0..rounds {
        for i in random.order(n) {
            results[i].push(measure(i)?);
        }
    }
    Ok(results)
}
