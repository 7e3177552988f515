//! One row of the table, and the table.

use std::fmt::Write as _;

use serde::Serialize;

/// How often ours and the yardstick take turns.
const ROUNDS: usize = 3;

/// A measured row.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub work: String,
    /// Our figure.
    pub ours: f64,
    /// The unit of both figures.
    pub unit: &'static str,
    /// The yardstick's name and figure, where there is one.
    pub yardstick: Option<(String, f64)>,
    /// Ours over the yardstick; for limits without one, ours over the floor.
    pub ratio: f64,
    /// What has to be reached.
    pub floor: f64,
    /// What is hoped for.
    pub goal: f64,
    /// Whether less is better, as with memory and seconds.
    pub less_is_better: bool,
    /// Whether the floor is reached.
    pub reached: bool,
}

impl Row {
    /// A row with a yardstick: floor and goal are ratios.
    pub(crate) fn against(
        work: &str,
        ours: f64,
        yardstick: &str,
        its: f64,
        unit: &'static str,
        floor: f64,
        goal: f64,
    ) -> Self {
        let ratio = ours / its;
        Self {
            work: work.to_owned(),
            ours,
            unit,
            yardstick: Some((yardstick.to_owned(), its)),
            ratio,
            floor,
            goal,
            less_is_better: false,
            reached: ratio >= floor,
        }
    }

    /// A row that has to reach a figure.
    pub(crate) fn at_least(work: &str, ours: f64, unit: &'static str, floor: f64, goal: f64) -> Self {
        let mut row = Self::against(work, ours, "", floor, unit, floor, goal);
        row.yardstick = None;
        row.reached = ours >= floor;
        row
    }

    /// A row that may not exceed a figure.
    pub(crate) fn at_most(work: &str, ours: f64, unit: &'static str, floor: f64, goal: f64) -> Self {
        let mut row = Self::at_least(work, ours, unit, floor, goal);
        row.less_is_better = true;
        row.reached = ours <= floor;
        row
    }
}

/// The medians of ours and of the yardstick, measured in turns.
pub(crate) fn in_turns(mut ours: impl FnMut() -> f64, mut yardstick: impl FnMut() -> f64) -> (f64, f64) {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        a.push(ours());
        b.push(yardstick());
    }
    (median(a), median(b))
}

/// The median of several rounds.
pub(crate) fn rounds(mut ours: impl FnMut() -> f64) -> f64 {
    median((0..ROUNDS).map(|_| ours()).collect())
}

/// The median of each of the figures that a round gives.
pub(crate) fn rounds_of_each<const N: usize>(mut ours: impl FnMut() -> [f64; N]) -> [f64; N] {
    let figures: Vec<_> = (0..ROUNDS).map(|_| ours()).collect();
    std::array::from_fn(|which| median(figures.iter().map(|round| round[which]).collect()))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// The rows as a Markdown table.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text =
        String::from("| work | ours | yardstick | ratio | floor | goal | reached |\n|---|---|---|---|---|---|---|\n");
    for row in rows {
        let yardstick = match &row.yardstick {
            Some((name, figure)) => format!("{name}: {} {}", figure_text(*figure), row.unit),
            None => "-".to_owned(),
        };
        let ratio = if row.yardstick.is_some() { format!("{:.2}", row.ratio) } else { "-".to_owned() };
        let _ = writeln!(
            text,
            "| {} | {} {} | {yardstick} | {ratio} | {} | {} | {} |",
            row.work,
            figure_text(row.ours),
            row.unit,
            figure_text(row.floor),
            figure_text(row.goal),
            if row.reached { "yes" } else { "**no**" },
        );
    }
    text
}

fn figure_text(figure: f64) -> String {
    match figure {
        figure if figure >= 1000.0 => format!("{figure:.0}"),
        figure if figure >= 10.0 => format!("{figure:.1}"),
        figure => format!("{figure:.2}"),
    }
}
