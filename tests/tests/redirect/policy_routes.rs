//! The policy rule and route of TPROXY, from any state that another run or program left.

use fairlead_init::{
    address,
    policy_route::{self, Changed, RouteError},
    rules::Family,
};
use fairlead_tests::netns::{Namespace, User};

const FAMILIES: [(Family, &str); 2] = [(Family::Ipv4, "-4"), (Family::Ipv6, "-6")];
const MARK: u32 = 1337;

/// What `ip` lists of a table: the rules that lead to it, and its routes.
#[track_caller]
fn listed(namespace: &Namespace, flag: &str, table: u32) -> (Vec<String>, Vec<String>) {
    let lines =
        |text: String| -> Vec<String> { text.lines().map(|line| line.trim().to_owned()).collect() };
    let rules = lines(namespace.stdout("ip", &[flag, "rule", "list"]));
    let lookup = format!("lookup {table}");
    let rules = rules.into_iter().filter(|rule| rule.ends_with(&lookup));
    // A table that never had a route is not there to be shown.
    let routes = lines(namespace.stdout("ip", &[flag, "route", "show", "table", "all"]));
    let table = format!("table {table} ");
    let routes = routes.into_iter().filter(|route| route.contains(&table));
    (rules.collect(), routes.collect())
}

#[track_caller]
fn ensure(namespace: &Namespace, family: Family, table: u32) -> Changed {
    namespace
        .run(|| policy_route::ensure(family, MARK, table))
        .unwrap_or_else(|error| panic!("{family:?}: {error}"))
}

#[track_caller]
fn remove(namespace: &Namespace, family: Family, table: u32) -> bool {
    namespace
        .run(|| policy_route::remove(family, MARK, table))
        .unwrap_or_else(|error| panic!("{family:?}: {error}"))
}

/// One rule before that of the main table, one route, and a further run changes nothing.
#[track_caller]
fn check_stands(namespace: &Namespace, family: Family, flag: &str, table: u32) {
    let (rules, routes) = listed(namespace, flag, table);
    assert_eq!(rules.len(), 1, "{rules:?}");
    let (priority, rule) = rules[0].split_once(':').expect("a priority");
    assert!(
        priority
            .parse::<u32>()
            .is_ok_and(|priority| priority < 32766)
    );
    assert_eq!(rule.trim(), format!("from all fwmark 0x539 lookup {table}"));
    assert_eq!(routes.len(), 1, "{routes:?}");
    assert!(routes[0].starts_with("local default dev lo"), "{routes:?}");
    assert_eq!(ensure(namespace, family, table), Changed::default());
}

#[track_caller]
fn check_gone(namespace: &Namespace, family: Family, flag: &str, table: u32) {
    assert_eq!(listed(namespace, flag, table), (Vec::new(), Vec::new()));
    assert!(!remove(namespace, family, table));
}

#[test]
#[ignore = "needs root"]
fn one_rule_and_one_route_are_made_and_taken_away() {
    let namespace = Namespace::new();
    for (family, flag) in FAMILIES {
        for table in [133, 5000] {
            let changed = ensure(&namespace, family, table);
            assert!(changed.rule_added && changed.route_added, "{changed}");
            assert_eq!((changed.rules_deleted, changed.routes_deleted), (0, 0));
            check_stands(&namespace, family, flag, table);
            assert!(remove(&namespace, family, table));
            check_gone(&namespace, family, flag, table);
        }
    }
}

#[test]
#[ignore = "needs root"]
fn what_others_doubled_becomes_one() {
    let namespace = Namespace::new();
    for (family, flag) in FAMILIES {
        let add = |words: &[&str]| namespace.ip(&[&[flag], words].concat());
        for priority in ["100", "200", "300", "40000"] {
            add(&[
                "rule", "add", "fwmark", "1337", "lookup", "133", "priority", priority,
            ]);
        }
        for metric in ["10", "20"] {
            add(&[
                "route", "add", "local", "default", "dev", "lo", "table", "133", "metric", metric,
            ]);
        }
        let changed = ensure(&namespace, family, 133);
        assert_eq!((changed.rules_deleted, changed.routes_deleted), (3, 1));
        assert!(!changed.rule_added && !changed.route_added, "{changed}");
        check_stands(&namespace, family, flag, 133);

        for priority in ["500", "600"] {
            add(&[
                "rule", "add", "fwmark", "1337", "lookup", "133", "priority", priority,
            ]);
        }
        assert!(remove(&namespace, family, 133));
        check_gone(&namespace, family, flag, 133);
    }
}

#[test]
#[ignore = "needs root"]
fn foreign_rules_stay_among_hundreds() {
    let namespace = Namespace::new();
    for (family, flag) in FAMILIES {
        let mut batch = String::new();
        for number in 1..=500 {
            batch.push_str(&format!(
                "rule add fwmark {number} lookup 133 priority {number}\n"
            ));
        }
        batch.push_str("rule add fwmark 1337 iif lo lookup 133 priority 1001\n");
        batch.push_str("rule add fwmark 1337 lookup 134 priority 1002\n");
        batch.push_str("rule add fwmark 1337/0xffff lookup 133 priority 1003\n");
        namespace.feed("ip", &[flag, "-batch", "-"], &batch);
        let before = namespace.stdout("ip", &[flag, "rule", "list"]);

        ensure(&namespace, family, 133);
        let with_ours = namespace.stdout("ip", &[flag, "rule", "list"]);
        assert_eq!(with_ours.lines().count(), before.lines().count() + 1);
        assert!(!ensure(&namespace, family, 133).anything());
        assert!(remove(&namespace, family, 133));
        assert_eq!(namespace.stdout("ip", &[flag, "rule", "list"]), before);
    }
}

#[test]
#[ignore = "needs root"]
fn a_table_of_somebody_else_is_left_alone() {
    let namespace = Namespace::new();
    for (family, flag) in FAMILIES {
        let network = match family {
            Family::Ipv4 => "10.1.0.0/16",
            Family::Ipv6 => "fd01::/64",
        };
        namespace.ip(&[flag, "route", "add", network, "dev", "lo", "table", "133"]);
        let outcome = namespace.run(|| policy_route::ensure(family, MARK, 133));
        assert!(matches!(
            outcome,
            Err(RouteError::TableInUse { table: 133 })
        ));
        assert!(!remove(&namespace, family, 133));
        assert_eq!(listed(&namespace, flag, 133).1.len(), 1);
    }
}

#[test]
#[ignore = "needs root"]
fn without_privilege_or_ipv6_the_remedy_is_told() {
    let namespace = Namespace::new();
    let outcome = namespace.run_as(User::APPLICATION, || {
        policy_route::ensure(Family::Ipv4, MARK, 133)
    });
    assert!(matches!(outcome, Err(RouteError::Privilege { .. })));

    namespace.stdout("sysctl", &["-qw", "net.ipv6.conf.lo.disable_ipv6=1"]);
    let outcome = namespace.run(|| policy_route::ensure(Family::Ipv6, MARK, 133));
    assert!(
        matches!(outcome, Err(RouteError::Ipv6Disabled)),
        "{outcome:?}"
    );
}

#[test]
#[ignore = "needs root"]
fn the_passthrough_address_comes_and_goes() {
    let namespace = Namespace::new();
    let addresses = || namespace.run(address::ipv6_addresses).expect("addresses");
    let passthrough = fairlead_init::rules::PASSTHROUGH_IPV6;
    assert!(!namespace.run(address::remove_passthrough).expect("removed"));
    for _ in 0..2 {
        namespace.run(address::add_passthrough).expect("added");
        assert!(addresses().contains(&passthrough));
    }
    assert!(namespace.run(address::remove_passthrough).expect("removed"));
    assert!(!addresses().contains(&passthrough));
    assert!(!namespace.run(address::remove_passthrough).expect("removed"));

    namespace.stdout("sysctl", &["-qw", "net.ipv6.conf.lo.disable_ipv6=1"]);
    assert!(!namespace.run(address::remove_passthrough).expect("removed"));
}
