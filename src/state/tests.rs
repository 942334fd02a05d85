use super::*;

#[test]
fn a_fresh_tree_is_apaches() {
    let state = State::new(&StateSettings::default());
    state.check();
    assert_eq!(state.digest(), 0x51c6_d660);
    assert_eq!(state.node_count(), 5);
    assert_eq!(state.approximate_data_size(), 44);
    let root = state.node_at("/").expect("the root").stat();
    assert_eq!((root.cversion, root.num_children), (-1, 1));
    let system = state.node_at("/zookeeper").expect("a system node").stat();
    assert_eq!((system.cversion, system.num_children), (-2, 2));
    assert_eq!(state.node_at("/zookeeper/config").expect("a system node").stat().aversion, -1);
}
