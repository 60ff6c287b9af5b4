use super::*;

#[test]
fn the_same_hash_leads_to_the_same_endpoint_while_it_is_there() {
    for policy in [ring_hash(Hashing::default()), maglev(Hashing::default())] {
        let all = set([locality("a", 0, 0, (1..=10).map(endpoint))]);
        let fewer = set([locality("a", 0, 0, (1..=9).map(endpoint))]);
        let choose = |set: &Arc<EndpointSet>, hash: u64| {
            // Another worker each time.
            let mut balancer = Balancer::new(Arc::new(config(policy.clone())));
            let choice = Choice {
                hash: Some(hash),
                ..anyone(Instant::now())
            };
            let mut rng = fastrand::Rng::with_seed(hash);
            number(&balancer.choose(set, &choice, &mut rng).endpoint.unwrap())
        };
        let mut moved = 0;
        for turn in 0..200_u64 {
            let hash = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let before = choose(&all, hash);
            assert_eq!(choose(&all, hash), before);
            if before != 10 && choose(&fewer, hash) != before {
                moved += 1;
            }
        }
        assert!(moved <= 20, "{moved} of 200 moved");
    }
}

#[test]
fn bounded_loads_send_elsewhere_what_one_endpoint_cannot_take() {
    let hashing = Hashing {
        use_hostname: false,
        balance_factor: 120,
    };
    for policy in [ring_hash(hashing), maglev(hashing)] {
        let set = set([locality("a", 0, 0, (1..=5).map(endpoint))]);
        let mut balancer = Balancer::new(Arc::new(config(policy)));
        let mut rng = fastrand::Rng::with_seed(1);
        let choice = Choice {
            hash: Some(7),
            ..anyone(Instant::now())
        };
        let mut active = Vec::new();
        for _ in 0..100 {
            let endpoint = balancer.choose(&set, &choice, &mut rng).endpoint.unwrap();
            active.push(endpoint.activate());
        }
        for endpoint in set.endpoints() {
            assert!(endpoint.state().active() <= 26);
        }
    }
}

#[test]
fn names_may_be_what_is_hashed() {
    let mut renamed = endpoint(1);
    renamed.attributes.hostname = "10.0.0.9:80".into();
    let hashing = Hashing {
        use_hostname: true,
        balance_factor: 0,
    };
    let by_name = set([locality("a", 0, 0, [renamed, endpoint(2)])]);
    let by_address = set([locality("a", 0, 0, [endpoint(9), endpoint(2)])]);
    for policy in [ring_hash(hashing), maglev(hashing)] {
        for hash in 0..50_u64 {
            let hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut balancer = Balancer::new(Arc::new(config(policy.clone())));
            let choice = Choice {
                hash: Some(hash),
                ..anyone(Instant::now())
            };
            let mut rng = fastrand::Rng::with_seed(1);
            let mut of = |set| number(&balancer.choose(set, &choice, &mut rng).endpoint.unwrap());
            let (name, address) = (of(&by_name), of(&by_address));
            assert_eq!(name == 2, address == 2);
        }
    }
}

#[test]
fn how_places_are_spread_is_told_when_they_are_given_out() {
    let endpoints = set([locality("a", 0, 0, [endpoint(1), weighing(2, 3)])]);
    for (policy, size) in [
        (ring_hash(Hashing::default()), 1024),
        (maglev(Hashing::default()), 1021),
    ] {
        let mut balancer = Balancer::new(Arc::new(config(policy)));
        let mut rng = fastrand::Rng::with_seed(1);
        let mut spread = || {
            let choice = anyone(Instant::now());
            balancer.choose(&endpoints, &choice, &mut rng).spread
        };
        let told = spread().unwrap();
        assert_eq!(told.size, size);
        assert_eq!(told.fewest + told.most, size);
        assert!(told.fewest.abs_diff(size / 4) <= 1, "{told:?}");
        assert_eq!(spread(), None);
    }
}
