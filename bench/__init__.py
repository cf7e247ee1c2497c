# SPDX-License-Identifier: Apache-2.0
"""The benchmarks. `./dev bench` builds what they need, starts the servers, and runs them:

    python3 -m bench             couponsd, each figure beside its ceiling
    python3 -m bench.growth      with more coupons, rows, lanes, instances
    python3 -m bench.soak        a long run at a steady rate
    python3 -m bench.compare     beside the design that couponsd replaces
    python3 -m bench.rpc         the bridge beside the bare gRPC core
"""
