/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's inline functions and macros, which bindgen cannot see. Nothing is decided here: each function reads what
 * the kernel knows, or does the one thing its name says.
 */
#ifndef PDMV2_HELPERS_H
#define PDMV2_HELPERS_H

#include <linux/kobject.h>
#include <linux/netfilter.h>
#include <linux/notifier.h>
#include <linux/skbuff.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <net/genetlink.h>
#include <net/net_namespace.h>

/* The library's AES-GCM; Linux 7.3 gave it another interface. */
#if __has_include(<crypto/aes-gcm.h>)
#include <crypto/aes-gcm.h>
struct pdmv2_aes_gcm_key {
	struct aes_gcm_key key;
};
#else
#include <crypto/gcm.h>
struct pdmv2_aes_gcm_key {
	struct aesgcm_ctx key;
};
#endif

int pdmv2_aes_gcm_prepare(struct pdmv2_aes_gcm_key *key, const u8 *raw, size_t raw_len, size_t tag_len);
void pdmv2_aes_gcm_seal(const struct pdmv2_aes_gcm_key *key, const u8 *nonce, const u8 *ad, size_t ad_len,
			const u8 *plain, size_t len, u8 *sealed, u8 *tag);
int pdmv2_aes_gcm_open(const struct pdmv2_aes_gcm_key *key, const u8 *nonce, const u8 *ad, size_t ad_len,
		       const u8 *sealed, size_t len, const u8 *tag, u8 *plain);

/* What is known of a packet on its way out. */
enum pdmv2_out_fact {
	PDMV2_OUT_NOT_LAST	= 1 << 0,	/* the output path will run again, or ran already */
	PDMV2_OUT_IPSEC_OUTER	= 1 << 1,	/* a transport or BEET mode state will follow */
	PDMV2_OUT_FULL_SOCKET	= 1 << 2,	/* sent by a socket, not by the kernel's control sockets */
	PDMV2_OUT_TCP_AO	= 1 << 3,
	PDMV2_OUT_DEVICE_CRYPTO	= 1 << 4,	/* clear text for a device to encrypt, or unreadable memory */
	PDMV2_OUT_NAT		= 1 << 5,	/* conntrack says the connection is, or may yet be, translated here */
	PDMV2_OUT_LOOPBACK	= 1 << 6,
	PDMV2_OUT_MTU_PROBE	= 1 << 7,	/* the application or TCP probes the path MTU */
	PDMV2_OUT_GSO		= 1 << 8,
};

u32 pdmv2_out_facts(const struct sk_buff *skb, const struct nf_hook_state *state);
u32 pdmv2_out_ifindex(const struct sk_buff *skb);
u32 pdmv2_out_vrf(const struct sk_buff *skb);
u32 pdmv2_in_ifindex(const struct nf_hook_state *state, const struct sk_buff *skb);
u32 pdmv2_in_vrf(const struct nf_hook_state *state);
u32 pdmv2_out_mtu(const struct sk_buff *skb);
u32 pdmv2_gso_segs(const struct sk_buff *skb);
bool pdmv2_gso_fits(const struct sk_buff *skb, u32 mtu);
struct sk_buff *pdmv2_gso_segment(struct sk_buff *skb);
struct sk_buff *pdmv2_next_segment(struct sk_buff **list);
void pdmv2_consume_skb(struct sk_buff *skb);
void pdmv2_okfn(const struct nf_hook_state *state, struct sk_buff *skb);

/* What is known of a packet that arrived. */
enum pdmv2_in_fact {
	PDMV2_IN_NAT		= 1 << 0,
	PDMV2_IN_DECRYPTED	= 1 << 1,	/* passes for the second time, after IPsec transport mode */
	PDMV2_IN_REASSEMBLED	= 1 << 2,	/* came in fragments */
};

u32 pdmv2_in_facts(const struct sk_buff *skb);
u32 pdmv2_path_mtu(const struct nf_hook_state *state, const struct sk_buff *skb, u32 tcp_at);
int pdmv2_set_mss(struct sk_buff *skb, unsigned int tcp_at, unsigned int mss_at, u16 mss);

const u8 *pdmv2_skb_head(const struct sk_buff *skb, u32 want, u8 *buffer, u32 *len);
u32 pdmv2_skb_len(const struct sk_buff *skb);

/* Where there is room for a longer header: between head and packet, or between packet and end. */
enum pdmv2_room {
	PDMV2_ROOM_IN_FRONT,
	PDMV2_ROOM_BEHIND,
};

int pdmv2_skb_make_room(struct sk_buff *skb, u32 growth, u32 at);
void pdmv2_skb_insert(struct sk_buff *skb, int room, u32 at, u32 replaces, const u8 *header, u32 len, u32 named_at);

/* Counters that every CPU has its own of: a set of the module's size, and the module's, which adds up all sets. */
#define PDMV2_COUNTERS 96

struct pdmv2_counters {
	u64 __percpu *own;
};

int pdmv2_counters_init(struct pdmv2_counters *counters, unsigned int n);
/* The first of a set, which the module's counters have no part in. */
void pdmv2_count_one(const struct pdmv2_counters *counter);
void pdmv2_counters_free(struct pdmv2_counters *counters);
void pdmv2_count(const struct pdmv2_counters *counters, unsigned int index, u64 n);
u64 pdmv2_counted(const struct pdmv2_counters *counters, unsigned int index);
u64 pdmv2_module_counted(unsigned int index);

/* In the order in which they are taken. */
enum pdmv2_lock_class {
	PDMV2_LOCK_PENDING,
	PDMV2_LOCK_FLOW,
	PDMV2_LOCK_SECRETS,
	PDMV2_LOCK_BUDGET,
	PDMV2_LOCK_CLASSES,
};

void pdmv2_lock_init(spinlock_t *lock, enum pdmv2_lock_class class);
void pdmv2_lock(spinlock_t *lock);
void pdmv2_unlock(spinlock_t *lock);

void *pdmv2_net_private(struct net *net, unsigned int id);
struct net *pdmv2_skb_sk_net(struct sk_buff *skb);
void pdmv2_for_each_net(void (*what)(struct net *net, void *context), void *context);

struct pdmv2_periodic {
	struct delayed_work work;
	void (*run)(void *context);
	void *context;
	unsigned int period_ms;
};

void pdmv2_periodic_start(struct pdmv2_periodic *p, void (*run)(void *), void *context, unsigned int period_ms);
void pdmv2_periodic_stop(struct pdmv2_periodic *p);

/* A macro of BIT(), which bindgen does not evaluate. */
enum { PDMV2_MCAST_CAP_NET_ADMIN = GENL_MCAST_CAP_NET_ADMIN };

/* Without CONFIG_VMGENID or CONFIG_PM_SLEEP these do nothing. */
int pdmv2_register_fork_notifier(struct notifier_block *block);
void pdmv2_unregister_fork_notifier(struct notifier_block *block);
int pdmv2_register_sleep_notifier(struct notifier_block *block);
void pdmv2_unregister_sleep_notifier(struct notifier_block *block);

struct sk_buff *pdmv2_genl_new(size_t room, bool atomic);
void pdmv2_genl_end(struct sk_buff *skb, void *header);
void pdmv2_genl_cancel(struct sk_buff *skb, void *header);
void pdmv2_genl_free(struct sk_buff *skb);
int pdmv2_genl_multicast(const struct genl_family *family, struct net *net, struct sk_buff *skb, unsigned int group);
bool pdmv2_genl_has_listeners(const struct genl_family *family, struct net *net, unsigned int group);
int pdmv2_genl_reply(struct sk_buff *skb, struct genl_info *info);
struct net *pdmv2_genl_net(const struct genl_info *info);
struct nlattr *pdmv2_nest_start(struct sk_buff *skb, int attribute);
void pdmv2_nest_end(struct sk_buff *skb, struct nlattr *nest);
void pdmv2_nest_cancel(struct sk_buff *skb, struct nlattr *nest);
void pdmv2_genl_payload(const struct genl_info *info, const u8 **data, u32 *len);
void pdmv2_dump_ids(const struct netlink_callback *cb, u32 *portid, u32 *seq);
void pdmv2_extack(struct genl_info *info, const u8 *attribute, const char *message);

void pdmv2_sysfs_attribute(struct kobj_attribute *attribute, const char *name,
			   ssize_t (*show)(struct kobject *, struct kobj_attribute *, char *));
struct kobject *pdmv2_kernel_kobj(void);
int pdmv2_sysfs_create(struct kobject *dir, struct kobj_attribute *attribute);
int pdmv2_max_dst_opts(struct net *net);
bool pdmv2_net_is_initial(const struct net *net);
u32 pdmv2_net_user(const struct net *net);

/* Bytes that the flows of all namespaces may take: the module parameter memory_max. */
void pdmv2_memory_init(void);
u64 pdmv2_memory_max_now(void);

bool pdmv2_log_allowed(void);
void pdmv2_cond_resched(void);
/* Frees memory of kmalloc() once every RCU reader that may see it is gone; may sleep. */
void pdmv2_free_unread(void *memory);

#endif
