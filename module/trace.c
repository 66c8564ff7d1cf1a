// SPDX-License-Identifier: GPL-2.0-only
/* The tracepoints, for callers in Rust. */
#define CREATE_TRACE_POINTS
#include "trace.h"

bool pdmv2_trace_option_tx_on(void)
{
	return trace_option_tx_enabled();
}

bool pdmv2_trace_option_rx_on(void)
{
	return trace_option_rx_enabled();
}

bool pdmv2_trace_drop_on(void)
{
	return trace_drop_enabled();
}

void pdmv2_trace_option_tx(const struct pdmv2_trace_packet *packet, const struct pdmv2_trace_option *option)
{
	trace_option_tx(packet, option);
}

void pdmv2_trace_option_rx(const struct pdmv2_trace_packet *packet, const struct pdmv2_trace_option *option,
			   const struct pdmv2_trace_arrival *arrival)
{
	trace_option_rx(packet, option, arrival);
}

void pdmv2_trace_drop(const struct pdmv2_trace_packet *packet, const struct pdmv2_trace_drop *drop)
{
	trace_drop(packet, drop);
}
