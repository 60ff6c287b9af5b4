# The images of Fairlead: the targets `webhook` and `proxy`.
#
#     docker build --target webhook --tag fairlead/webhook:0.1.0 .
#     docker build --target proxy --tag fairlead/proxy:0.1.0 .
#
# `cargo xtask images` builds both without docker and without a registry.

ARG RUST=docker.io/library/rust:1.95-bookworm
ARG BASE=docker.io/library/debian:bookworm-slim

# The programs, static so that they run without a file beside them. A context that brings them in bin/, as
# `cargo xtask images` makes it, needs no compiler here.
FROM ${RUST} AS programs
WORKDIR /source
COPY . .
# The image's own toolchain, not one that rustup would fetch for rust-toolchain.toml.
ENV RUSTUP_TOOLCHAIN=1.95.0
# Static; relocations take a byte or two each, not 24 that are read at each start and stay in memory.
ENV RUSTFLAGS="-Ctarget-feature=+crt-static -Clink-arg=-Wl,-z,pack-relative-relocs"
RUN [ -d bin ] || { \
      target="$(rustc -vV | sed -n 's/^host: //p')" \
      && cargo build --release --locked --target "$target" --package fairlead-webhook --package fairlead-cli \
           --package fairlead-init --package fairlead-proxy \
      && mkdir bin \
      && for program in fairlead-webhook fairlead fairlead-init fairlead-proxy; do \
           cp "target/$target/release/$program" bin/ || exit 1; \
         done; }

# What programs the redirect, with just the libraries it loads.
FROM ${BASE} AS packet-filters
RUN ls /usr/sbin/xtables-nft-multi /usr/sbin/xtables-legacy-multi /usr/sbin/nft >/dev/null 2>&1 \
      || { apt-get update && apt-get install --yes --no-install-recommends iptables nftables; }
RUN set -eu; \
    mkdir -p /image/etc /image/run /image/tmp /image/usr/sbin; \
    chmod 1777 /image/tmp; \
    for program in nft xtables-nft-multi xtables-legacy-multi; do cp "/usr/sbin/$program" /image/usr/sbin/; done; \
    for family in iptables ip6tables; do \
      for verb in '' -save -restore; do \
        ln -s xtables-nft-multi "/image/usr/sbin/$family-nft$verb"; \
        ln -s xtables-legacy-multi "/image/usr/sbin/$family-legacy$verb"; \
        ln -s xtables-nft-multi "/image/usr/sbin/$family$verb"; \
      done; \
    done; \
    extensions="$(dirname "$(find /usr/lib -name libxt_owner.so)")"; \
    cp --parents --recursive "$extensions" /image; \
    ldd /image/usr/sbin/nft /image/usr/sbin/xtables-*-multi "$extensions"/*.so \
      | sed -n -e 's/.* => \(\/[^ ]*\) .*/\1/p' -e 's/^\s*\(\/[^ ]*\) (.*/\1/p' | sort -u \
      | xargs cp --parents --dereference --target-directory=/image; \
    printf '%s\n' 'root:x:0:0::/:' 'istio-proxy:x:1337:1337::/:' > /image/etc/passwd; \
    printf '%s\n' 'root:x:0:' 'istio-proxy:x:1337:' > /image/etc/group; \
    printf '%s\n' 'icmp 1 ICMP' 'tcp 6 TCP' 'udp 17 UDP' 'ipv6-icmp 58 IPv6-ICMP' > /image/etc/protocols

FROM scratch AS webhook
COPY --from=programs /source/bin/fairlead-webhook /source/bin/fairlead /
USER 65532:65532
ENTRYPOINT ["/fairlead-webhook"]

# One image for the init container and the sidecar, so that a node pulls one.
FROM scratch AS proxy
COPY --from=packet-filters /image /
COPY --from=programs /source/bin/fairlead-init /source/bin/fairlead-proxy /usr/local/bin/
# Legacy iptables locks a file in /run, which a read-only root refuses; each pod has its own writable /dev/shm.
ENV PATH=/usr/local/bin:/usr/sbin XTABLES_LOCKFILE=/dev/shm/xtables.lock
# The processors of AMD since Zen 3 copy by `rep movsb` at a fraction of the speed where both ends lie alike in
# their pages, and this glibc copies so from 2 KiB on. Each record of TLS is copied: a third of what it costs to take.
ENV GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=0x1000000
USER 1337:1337
ENTRYPOINT ["/usr/local/bin/fairlead-proxy"]
