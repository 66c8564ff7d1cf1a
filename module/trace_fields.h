/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tracepoints of trace.h are told. Whoever tells asks first whether anybody listens: that is a static key, so that
 * a packet nobody traces costs a call and no more. No key is ever told.
 */
#ifndef PDMV2_TRACE_FIELDS_H
#define PDMV2_TRACE_FIELDS_H

#include <net/net_namespace.h>

/* A packet as sent: its source is the peer's where it was received. */
struct pdmv2_trace_packet {
	const struct net *net;
	const u8 *saddr;
	const u8 *daddr;
	u32 ifindex;
	u32 len;	/* from the IPv6 header to the end, bytes, the option included */
	u16 sport;
	u16 dport;
	u8 protocol;
	u8 mechanism;
};

/* What an option says, and the key it was sealed under; what its mechanism lacks is 0. */
struct pdmv2_trace_option {
	u64 dtlr_ns;
	u64 dtls_ns;
	u64 generation;
	const u8 *association;	/* not terminated */
	u32 association_len;
	u32 globalptr;
	u32 epoch;
	u16 psntp;
	u16 psnlr;
	u16 dtlr;
	u16 dtls;
	u8 scale_dtlr;
	u8 scale_dtls;
};

/* What an accepted option turned out to be. A sample that was not taken is -1. */
struct pdmv2_trace_arrival {
	s64 rtt_ns;
	s64 server_delay_ns;
	u8 arrival;
};

/* What went without an option, or whose option was ignored; epoch and PSN are 0 where there is no option. */
struct pdmv2_trace_drop {
	u32 packets;	/* on the wire: a super-packet is several */
	u32 epoch;
	u16 psntp;
	u8 kind;
	u8 reason;	/* a skip or a refusal, by the kind */
};

bool pdmv2_trace_option_tx_on(void);
bool pdmv2_trace_option_rx_on(void);
bool pdmv2_trace_drop_on(void);
void pdmv2_trace_option_tx(const struct pdmv2_trace_packet *packet, const struct pdmv2_trace_option *option);
void pdmv2_trace_option_rx(const struct pdmv2_trace_packet *packet, const struct pdmv2_trace_option *option,
			   const struct pdmv2_trace_arrival *arrival);
void pdmv2_trace_drop(const struct pdmv2_trace_packet *packet, const struct pdmv2_trace_drop *drop);

#endif
