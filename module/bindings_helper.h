/* SPDX-License-Identifier: GPL-2.0-only */
/* Read by bindgen: the headers of what kernel::bindings lacks. */
#include <linux/hrtimer_types.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv6.h>
#include <crypto/chacha.h>
#include <crypto/poly1305.h>
#include <crypto/sha2.h>
#include <crypto/utils.h>
#include "helpers.h"
#include "table.h"
#include "trace_fields.h"
