"""What a run was to reach and did not."""

MIB = 1 << 20
# Of a server at rest.
AT_REST = {
    "nodes": 220 * MIB,
    "session_each": 1024,
    "watch_each": 16,
    "restart_seconds": 0.6,
    "first_create_seconds": 0.02,
    "idle_bytes": 8 * MIB,
}
LONGEST_TURN_US = 5000


def aims(row):
    """Figure, what was found, the most it may be."""
    if "floor_set_us" in row:
        return
    if "members" in row:
        for name, found in row["figures"].items():
            is_most = found["kind"] == "most"
            pair = (found["ratio"], found["wanted"])
            yield (name, *pair) if is_most else (name, *reversed(pair))
    elif "kills" in row:
        if row["wanted_ms"]:
            yield "median", row["zkd"]["median_ms"], row["wanted_ms"]
    elif "wanted_spread" in row:
        yield "time", row["wanted_ratio"], row["ratio"]
        yield "p99.9 over p50", row["zkd"]["spread"], row["wanted_spread"]
    elif "wanted_ratio_most" in row:
        yield "time", row["ratio"], row["wanted_ratio_most"]
        yield "longest turn", row["zkd"]["longest_turn_us"], LONGEST_TURN_US
    elif "ratios" in row:
        # Either yardstick tells how dear this machine is; the echo's is the one without a
        # machine's own warm-up.
        if "echo" in row:
            yield "server CPU over a bare echo's", row["echo"]["ratio"], row["wanted_over_echo"]
        else:
            yield "server CPU", row["zkd"]["server_cpu_per_100k"], row["wanted_cpu"]
        if row["wanted_rate"]:
            yield "rate", row["wanted_rate"], row["ratios"]["per_second"]["median"]
    elif "zkd_per_second" in row:
        yield "rate", row["wanted"], row["ratio"]
    elif "load_gen_per_second" in row:
        yield "either over the other", max(row["ratio"], 1 / row["ratio"]), row["wanted"]
    elif "floor_spread" in row:
        yield "p99.9 over p50", row["spread"], row["wanted"]
        yield "longest turn", row["longest_turn_us"], LONGEST_TURN_US
    elif "watches" in row:
        for name, most in AT_REST.items():
            yield name, row["zkd"][name], most
    else:
        yield "ratio", row["ratio"], row["wanted"]


def missed(rows):
    return [
        f"{row['row']}: {figure}"
        for row in rows for figure, found, most in aims(row) if found > most
    ]
