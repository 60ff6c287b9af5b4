use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::{any, proptest};

use super::*;

fn at(epoch: i64, nanos: u32) -> SystemTime {
    let whole = Duration::from_secs(epoch.unsigned_abs());
    let time = if epoch < 0 {
        UNIX_EPOCH - whole
    } else {
        UNIX_EPOCH + whole
    };
    time + Duration::from_nanos(nanos.into())
}

#[track_caller]
fn check(time: SystemTime, format: &str, expected: &str) {
    let mut out = String::new();
    TimeFormat::parse(format)
        .unwrap()
        .write(time, &mut out)
        .unwrap();
    assert_eq!(out, expected, "{format}");
}

#[test]
fn each_conversion_prints_what_envoy_prints() {
    let time = at(1_795_300_103, 487_688_000);
    for (format, expected) in [
        ("", "2026-11-21T22:28:23.487Z"),
        (TimeFormat::LOCAL, "2026-11-21T22:28:23.487+0000"),
        ("%s.%3f", "1795300103.487"),
        ("%f", "487688000"),
        ("%1f|%6f|%9f", "4|487688|487688000"),
        ("%Y/%m/%dT%H:%M:%S%z", "2026/11/21T22:28:23+0000"),
        ("%a|%A|%b|%B|%h", "Sat|Saturday|Nov|November|Nov"),
        ("%c", "Sat Nov 21 22:28:23 2026"),
        ("%C|%d|%D|%e|%F", "20|21|11/21/26|21|2026-11-21"),
        ("%g|%G|%H|%I|%j|%k|%l", "26|2026|22|10|325|22|10"),
        ("%m|%M|%p|%P|%r|%R", "11|28|PM|pm|10:28:23 PM|22:28"),
        ("%S|%T|%u|%U|%V|%w|%W", "23|22:28:23|6|46|47|6|46"),
        (
            "%x|%X|%y|%Y|%z|%Z|%%|%t|",
            "11/21/26|22:28:23|26|2026|+0000|UTC|%|\t|",
        ),
        (
            "%E3S|%E*S|%Ez|%E*z|%E4Y",
            "23.487|23.487688|+00:00|+00:00:00|2026",
        ),
        ("%E2f|%E*f|%ET", "48|487688|T"),
        ("%-d|%_d|%0e|%^a|%#p", "21|21|21|SAT|pm"),
        ("%q|%Q|%L|%0f|%3|%10f|é%", "%q|%Q|%L|%0f|%3|%10f|é%"),
        ("abc", "abc"),
    ] {
        check(time, format, expected);
    }
}

#[test]
fn days_are_found_in_the_calendar() {
    for (epoch, expected) in [
        (0, "1970-01-01 00:00:00 001 4 1970-W01"),
        (951_782_399, "2000-02-28 23:59:59 059 1 2000-W09"),
        (951_782_400, "2000-02-29 00:00:00 060 2 2000-W09"),
        (4_107_542_400, "2100-03-01 00:00:00 060 1 2100-W09"),
        (1_609_459_200, "2021-01-01 00:00:00 001 5 2020-W53"),
        (1_735_603_200, "2024-12-31 00:00:00 366 2 2025-W01"),
        (-1, "1969-12-31 23:59:59 365 3 1970-W01"),
        (-2_208_988_800, "1900-01-01 00:00:00 001 1 1900-W01"),
    ] {
        check(at(epoch, 0), "%F %T %j %w %G-W%V", expected);
    }
}

#[test]
fn whole_seconds_have_no_fraction_unless_asked_for() {
    check(at(1, 0), "%E*S|%E*f|%E3S", "01|0|01.000");
}

#[test]
fn a_line_end_is_refused() {
    for format in ["%n", "a%n", "%En", "%_n", "%^n"] {
        assert_eq!(TimeFormat::parse(format), Err(HasNewLine), "{format}");
    }
}

proptest! {
    #[test]
    fn no_format_and_no_time_is_too_strange(
        format in any::<String>(),
        conversion in "(%[-_0^#EO0-9*]{0,3}[a-zA-Z%]){0,4}",
        epoch in -10_000_000_000_000_i64..10_000_000_000_000,
        nanos in 0_u32..1_000_000_000,
    ) {
        for format in [format, conversion] {
            if let Ok(format) = TimeFormat::parse(&format) {
                format.write(at(epoch, nanos), &mut String::new()).unwrap();
            }
        }
    }
}
