/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints: pdmv2:option_tx for each option sent, pdmv2:option_rx for each option accepted, pdmv2:drop for each packet
 * that went without an option and for each option ignored. Text is made of name=value, in the order of the fields.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM pdmv2

#if !defined(PDMV2_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define PDMV2_TRACE_H

#include <linux/tracepoint.h>
#include "trace_fields.h"
#include "uapi_names.h"

#define PDMV2_PACKET_FIELDS		\
	__field(u32, netns)		\
	__field(u32, ifindex)		\
	__field(u32, len)		\
	__field(u8, protocol)		\
	__field(u8, mechanism)		\
	__field(u16, sport)		\
	__field(u16, dport)		\
	__array(u8, saddr, 16)		\
	__array(u8, daddr, 16)

/* The namespace goes by the number that /proc/PID/ns/net and lsns show. */
#define PDMV2_PACKET_ASSIGN						\
	__entry->netns = packet->net->ns.inum;				\
	__entry->ifindex = packet->ifindex;				\
	__entry->len = packet->len;					\
	__entry->protocol = packet->protocol;				\
	__entry->mechanism = packet->mechanism;				\
	__entry->sport = packet->sport;					\
	__entry->dport = packet->dport;					\
	memcpy(__entry->saddr, packet->saddr, sizeof(__entry->saddr));	\
	memcpy(__entry->daddr, packet->daddr, sizeof(__entry->daddr))

#define PDMV2_PACKET_FORMAT	\
	"netns=%u ifindex=%u len=%u protocol=%u saddr=%pI6c sport=%u daddr=%pI6c dport=%u mechanism=%s"

#define PDMV2_PACKET_VALUES								\
	__entry->netns, __entry->ifindex, __entry->len, __entry->protocol,		\
	__entry->saddr, __entry->sport, __entry->daddr, __entry->dport,			\
	__print_symbolic(__entry->mechanism, PDMV2_MECHANISM_NAMES)

#define PDMV2_OPTION_FIELDS						\
	__field(u32, epoch)						\
	__field(u16, psntp)						\
	__field(u16, psnlr)						\
	__field(u16, dtlr)						\
	__field(u16, dtls)						\
	__field(u8, scale_dtlr)						\
	__field(u8, scale_dtls)						\
	__field(u32, globalptr)						\
	__field(u64, dtlr_ns)						\
	__field(u64, dtls_ns)						\
	__field(u64, generation)					\
	__array(char, association, PDMV2_NAME_MAX + 1)

#define PDMV2_OPTION_ASSIGN							\
	__entry->epoch = option->epoch;						\
	__entry->psntp = option->psntp;						\
	__entry->psnlr = option->psnlr;						\
	__entry->dtlr = option->dtlr;						\
	__entry->dtls = option->dtls;						\
	__entry->scale_dtlr = option->scale_dtlr;				\
	__entry->scale_dtls = option->scale_dtls;				\
	__entry->globalptr = option->globalptr;					\
	__entry->dtlr_ns = option->dtlr_ns;					\
	__entry->dtls_ns = option->dtls_ns;					\
	__entry->generation = option->generation;				\
	memset(__entry->association, 0, sizeof(__entry->association));		\
	memcpy(__entry->association, option->association,			\
	       min_t(u32, option->association_len, PDMV2_NAME_MAX))

#define PDMV2_OPTION_FORMAT										\
	" epoch=%u psntp=%u psnlr=%u dtlr=%u scale_dtlr=%u dtls=%u scale_dtls=%u globalptr=%u"		\
	" dtlr_ns=%llu dtls_ns=%llu generation=%llu association=%s"

#define PDMV2_OPTION_VALUES										\
	__entry->epoch, __entry->psntp, __entry->psnlr, __entry->dtlr, __entry->scale_dtlr,		\
	__entry->dtls, __entry->scale_dtls, __entry->globalptr, __entry->dtlr_ns, __entry->dtls_ns,	\
	__entry->generation, __entry->association

TRACE_EVENT(option_tx,

	TP_PROTO(const struct pdmv2_trace_packet *packet, const struct pdmv2_trace_option *option),

	TP_ARGS(packet, option),

	TP_STRUCT__entry(
		PDMV2_PACKET_FIELDS
		PDMV2_OPTION_FIELDS
	),

	TP_fast_assign(
		PDMV2_PACKET_ASSIGN;
		PDMV2_OPTION_ASSIGN;
	),

	TP_printk(PDMV2_PACKET_FORMAT PDMV2_OPTION_FORMAT, PDMV2_PACKET_VALUES, PDMV2_OPTION_VALUES)
);

TRACE_EVENT(option_rx,

	TP_PROTO(const struct pdmv2_trace_packet *packet, const struct pdmv2_trace_option *option,
		 const struct pdmv2_trace_arrival *arrival),

	TP_ARGS(packet, option, arrival),

	TP_STRUCT__entry(
		PDMV2_PACKET_FIELDS
		PDMV2_OPTION_FIELDS
		__field(u8, arrival)
		__field(s64, rtt_ns)
		__field(s64, server_delay_ns)
	),

	TP_fast_assign(
		PDMV2_PACKET_ASSIGN;
		PDMV2_OPTION_ASSIGN;
		__entry->arrival = arrival->arrival;
		__entry->rtt_ns = arrival->rtt_ns;
		__entry->server_delay_ns = arrival->server_delay_ns;
	),

	TP_printk(PDMV2_PACKET_FORMAT PDMV2_OPTION_FORMAT " arrival=%s rtt_ns=%lld server_delay_ns=%lld",
		  PDMV2_PACKET_VALUES, PDMV2_OPTION_VALUES,
		  __print_symbolic(__entry->arrival, PDMV2_ARRIVAL_NAMES), __entry->rtt_ns, __entry->server_delay_ns)
);

TRACE_EVENT(drop,

	TP_PROTO(const struct pdmv2_trace_packet *packet, const struct pdmv2_trace_drop *drop),

	TP_ARGS(packet, drop),

	TP_STRUCT__entry(
		PDMV2_PACKET_FIELDS
		__field(u32, packets)
		__field(u32, epoch)
		__field(u16, psntp)
		__field(u8, kind)
		__field(u8, reason)
	),

	TP_fast_assign(
		PDMV2_PACKET_ASSIGN;
		__entry->packets = drop->packets;
		__entry->epoch = drop->epoch;
		__entry->psntp = drop->psntp;
		__entry->kind = drop->kind;
		__entry->reason = drop->reason;
	),

	TP_printk(PDMV2_PACKET_FORMAT " packets=%u epoch=%u psntp=%u kind=%s reason=%s",
		  PDMV2_PACKET_VALUES, __entry->packets, __entry->epoch, __entry->psntp,
		  __print_symbolic(__entry->kind, PDMV2_DROP_KIND_NAMES),
		  __entry->kind == PDMV2_DROP_KIND_SKIPPED ?
			  __print_symbolic(__entry->reason, PDMV2_SKIP_NAMES) :
			  __print_symbolic(__entry->reason, PDMV2_REFUSAL_NAMES))
);

#endif /* PDMV2_TRACE_H */

/* Kbuild names this file's directory to the compiler. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
