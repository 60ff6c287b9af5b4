//! What somebody may have meant by a misspelt name.

use strsim::osa_distance;

/// The known name that is most like an unknown one, if any is like it at all: at most every third
/// letter is wrong, left out, too much or in its neighbour's place, whatever its case.
pub fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let unknown = unknown.to_lowercase();
    let length = unknown.chars().count();
    let room = (length / 3).max(1);
    let distance = |name: &str| osa_distance(&unknown, &name.to_lowercase());
    // The rest would be in vain, and of a key of a megabyte it would take minutes.
    let known = known.into_iter();
    let known = known.filter(|name| name.chars().count().abs_diff(length) <= room);
    let ranked = known.map(|name| (distance(name), name));
    let (_, name) = ranked
        .filter(|(distance, _)| *distance <= room)
        .min_by_key(|(distance, _)| *distance)?;
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_recognised_and_another_word_is_not() {
        const KNOWN: [&str; 3] = ["concurrency", "statusPort", "proxyMetadata"];
        for (unknown, expected) in [
            ("concurency", Some("concurrency")),
            ("StatusPort", Some("statusPort")),
            ("satusPort", Some("statusPort")),
            ("proxyMetaData", Some("proxyMetadata")),
            ("statsPorts", Some("statusPort")),
            ("tracing", None),
            ("", None),
        ] {
            assert_eq!(nearest(unknown, KNOWN), expected, "{unknown}");
        }
    }
}
