// SPDX-License-Identifier: GPL-2.0-only
#include "helpers.h"

#include <linux/capability.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/netdevice.h>
#include <linux/netfilter_ipv6.h>
#include <linux/percpu.h>
#include <linux/random.h>
#include <linux/ratelimit.h>
#include <linux/suspend.h>
#include <linux/sysfs.h>
#include <linux/tcp.h>
#include <net/checksum.h>
#include <net/gso.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#include <net/l3mdev.h>
#include <net/netfilter/nf_conntrack.h>
#include <net/netns/generic.h>
#include <net/tcp.h>
#include <net/xfrm.h>

int pdmv2_aes_gcm_prepare(struct pdmv2_aes_gcm_key *key, const u8 *raw, size_t raw_len, size_t tag_len)
{
#ifdef _CRYPTO_AES_GCM_H
	return aes_gcm_preparekey(&key->key, raw, raw_len, tag_len);
#else
	return aesgcm_expandkey(&key->key, raw, raw_len, tag_len);
#endif
}

void pdmv2_aes_gcm_seal(const struct pdmv2_aes_gcm_key *key, const u8 *nonce, const u8 *ad, size_t ad_len,
			const u8 *plain, size_t len, u8 *sealed, u8 *tag)
{
#ifdef _CRYPTO_AES_GCM_H
	aes_gcm_encrypt(sealed, plain, len, tag, ad, ad_len, nonce, &key->key);
#else
	aesgcm_encrypt(&key->key, sealed, plain, len, ad, ad_len, nonce, tag);
#endif
}

int pdmv2_aes_gcm_open(const struct pdmv2_aes_gcm_key *key, const u8 *nonce, const u8 *ad, size_t ad_len,
		       const u8 *sealed, size_t len, const u8 *tag, u8 *plain)
{
#ifdef _CRYPTO_AES_GCM_H
	return aes_gcm_decrypt(plain, sealed, len, tag, ad, ad_len, nonce, &key->key);
#else
	return aesgcm_decrypt(&key->key, plain, sealed, len, ad, ad_len, nonce, tag) ? 0 : -EBADMSG;
#endif
}

static bool pdmv2_is_translated(const struct sk_buff *skb)
{
#if IS_ENABLED(CONFIG_NF_CONNTRACK)
	enum ip_conntrack_info ctinfo;
	const struct nf_conn *ct = nf_ct_get(skb, &ctinfo);

	return ct && (ct->status & IPS_NAT_MASK);
#else
	return false;
#endif
}

/*
 * Source addresses and ports are translated in POST_ROUTING, behind this: until its first packet has been there, a
 * connection's entry does not say so. Whoever finds another's reply tuple taken gets another port there, too, with no
 * rule that asks for it.
 */
static bool pdmv2_may_be_translated_yet(const struct sk_buff *skb, const struct net *net)
{
#if IS_ENABLED(CONFIG_NF_NAT)
	enum ip_conntrack_info ctinfo;
	const struct nf_conn *ct = nf_ct_get(skb, &ctinfo);
	const struct nf_hook_entries *hooks;
	struct nf_hook_ops **ops;
	unsigned int i;

	if (!ct || nf_ct_is_confirmed(ct))
		return false;
	hooks = rcu_dereference(net->nf.hooks_ipv6[NF_INET_POST_ROUTING]);
	if (!hooks)
		return false;
	ops = nf_hook_entries_get_hook_ops(hooks);
	for (i = 0; i < hooks->num_hook_entries; i++) {
		if (READ_ONCE(ops[i])->priority == NF_IP6_PRI_NAT_SRC)
			return true;
	}
#endif
	return false;
}

/* Transport and BEET mode keep the packet's own extension headers in front of ESP, in clear. */
static bool pdmv2_is_ipsec_outer(const struct dst_entry *dst)
{
#ifdef CONFIG_XFRM
	for (; dst && dst->xfrm; dst = xfrm_dst_child(dst)) {
		switch (dst->xfrm->props.mode) {
		case XFRM_MODE_TRANSPORT:
		case XFRM_MODE_BEET:
		case XFRM_MODE_ROUTEOPTIMIZATION:
			return true;
		default:
			break;
		}
	}
#endif
	return false;
}

static u32 pdmv2_socket_facts(const struct sock *sk)
{
	u32 facts = 0;

	if (!sk || !sk_fullsock(sk))
		return 0;
	/* TCP resets and ICMPv6 answers come from the kernel's own raw sockets. */
	if (!(sk->sk_kern_sock && sk->sk_type == SOCK_RAW))
		facts |= PDMV2_OUT_FULL_SOCKET;
	if (sk->sk_family == AF_INET6 && inet6_sk(sk) && READ_ONCE(inet6_sk(sk)->pmtudisc) >= IPV6_PMTUDISC_PROBE)
		facts |= PDMV2_OUT_MTU_PROBE;
	if (sk_is_tcp(sk)) {
		if (inet_csk(sk)->icsk_mtup.enabled)
			facts |= PDMV2_OUT_MTU_PROBE;
#ifdef CONFIG_TCP_AO
		if (rcu_access_pointer(tcp_sk(sk)->ao_info))
			facts |= PDMV2_OUT_TCP_AO;
#endif
	}
	return facts;
}

u32 pdmv2_out_facts(const struct sk_buff *skb, const struct nf_hook_state *state)
{
	const struct dst_entry *dst = skb_dst(skb);
	u32 facts;

	if (!dst || netif_is_l3_master(dst_dev(dst)) || (state->out && netif_is_l3_master(state->out)) ||
	    (IP6CB(skb)->flags & (IP6SKB_XFRM_TRANSFORMED | IP6SKB_REROUTED)))
		return PDMV2_OUT_NOT_LAST;

	facts = pdmv2_socket_facts(skb->sk);
	if (pdmv2_is_ipsec_outer(dst))
		facts |= PDMV2_OUT_IPSEC_OUTER;
	if (skb_is_decrypted(skb) || !skb_frags_readable(skb))
		facts |= PDMV2_OUT_DEVICE_CRYPTO;
	if (pdmv2_is_translated(skb) || pdmv2_may_be_translated_yet(skb, state->net))
		facts |= PDMV2_OUT_NAT;
	if (dst_dev(dst)->flags & IFF_LOOPBACK)
		facts |= PDMV2_OUT_LOOPBACK;
	if (skb_is_gso(skb))
		facts |= PDMV2_OUT_GSO;
	return facts;
}

/* Of its route: a hook before this one may have chosen another since LOCAL_OUT began. */
u32 pdmv2_out_ifindex(const struct sk_buff *skb)
{
	return dst_dev(skb_dst(skb))->ifindex;
}

u32 pdmv2_out_vrf(const struct sk_buff *skb)
{
	return l3mdev_master_ifindex_rcu(dst_dev(skb_dst(skb)));
}

/* A VRF puts itself in the place of the interface that a packet came by. */
u32 pdmv2_in_ifindex(const struct nf_hook_state *state, const struct sk_buff *skb)
{
	if (!state->in)
		return 0;
	return netif_is_l3_master(state->in) ? IP6CB(skb)->iif : state->in->ifindex;
}

u32 pdmv2_in_vrf(const struct nf_hook_state *state)
{
	return l3mdev_master_ifindex_rcu(state->in);
}

u32 pdmv2_out_mtu(const struct sk_buff *skb)
{
	u32 mtu = ip6_skb_dst_mtu(skb);
	u32 frag_max = IP6CB(skb)->frag_max_size;

	return frag_max && frag_max < mtu ? frag_max : mtu;
}

u32 pdmv2_gso_segs(const struct sk_buff *skb)
{
	u32 size = skb_shinfo(skb)->gso_size, segs = skb_shinfo(skb)->gso_segs;

	if (segs)
		return segs;
	return size ? DIV_ROUND_UP(skb->len, size) : 1;
}

bool pdmv2_gso_fits(const struct sk_buff *skb, u32 mtu)
{
	return skb_gso_validate_network_len(skb, mtu);
}

struct sk_buff *pdmv2_gso_segment(struct sk_buff *skb)
{
	struct net_device *dev = skb->dev;
	struct sk_buff *segs;

	/* TCP sets the device only in ip6_output. */
	if (!dev)
		skb->dev = dst_dev(skb_dst(skb));
	segs = __skb_gso_segment(skb, netif_skb_features(skb) & ~NETIF_F_GSO_MASK, true);
	skb->dev = dev;
	return IS_ERR_OR_NULL(segs) ? NULL : segs;
}

struct sk_buff *pdmv2_next_segment(struct sk_buff **list)
{
	struct sk_buff *skb = *list;

	if (skb) {
		*list = skb->next;
		skb_mark_not_on_list(skb);
	}
	return skb;
}

/* An inline function in kernels without tracepoints. */
void pdmv2_consume_skb(struct sk_buff *skb)
{
	consume_skb(skb);
}

void pdmv2_okfn(const struct nf_hook_state *state, struct sk_buff *skb)
{
	state->okfn(state->net, state->sk, skb);
}

u32 pdmv2_in_facts(const struct sk_buff *skb)
{
	u32 facts = 0;

	if (pdmv2_is_translated(skb))
		facts |= PDMV2_IN_NAT;
	if (IP6CB(skb)->flags & IP6SKB_FRAGMENTED)
		facts |= PDMV2_IN_REASSEMBLED;
#ifdef CONFIG_XFRM
	{
		const struct sec_path *sp = skb_sec_path(skb);

		if (sp && sp->len && sp->xvec[sp->len - 1]->props.mode != XFRM_MODE_TUNNEL)
			facts |= PDMV2_IN_DECRYPTED;
	}
#endif
	return facts;
}

/* Of the way back, the tunnels of IPsec on it included. */
u32 pdmv2_path_mtu(const struct nf_hook_state *state, const struct sk_buff *skb, u32 tcp_at)
{
	const struct ipv6hdr *hdr = ipv6_hdr(skb);
	struct flowi6 fl6 = {
		.daddr = hdr->saddr,
		.saddr = hdr->daddr,
		.flowi6_proto = IPPROTO_TCP,
		.flowi6_mark = skb->mark,
		.flowi6_oif = l3mdev_master_ifindex_rcu(state->in),
	};
	const __be16 *ports;
	struct dst_entry *dst;
	__be16 buffer[2];
	u32 mtu;

	ports = skb_header_pointer(skb, tcp_at, sizeof(buffer), buffer);
	if (ports) {
		fl6.fl6_dport = ports[0];
		fl6.fl6_sport = ports[1];
	}
	if (ipv6_addr_type(&hdr->saddr) & IPV6_ADDR_LINKLOCAL)
		fl6.flowi6_oif = inet6_iif(skb);
	dst = ip6_route_output(state->net, NULL, &fl6);
	if (dst->error) {
		dst_release(dst);
		return IPV6_MIN_MTU;
	}
	mtu = dst_mtu(dst);
	dst = xfrm_lookup(state->net, dst, flowi6_to_flowi(&fl6), NULL, 0);
	if (IS_ERR(dst))
		return mtu;
	mtu = dst_mtu(dst);
	dst_release(dst);
	return mtu;
}

int pdmv2_set_mss(struct sk_buff *skb, unsigned int tcp_at, unsigned int mss_at, u16 mss)
{
	struct tcphdr *th;
	__be16 old, new = htons(mss);

	if (skb_ensure_writable(skb, mss_at + sizeof(old)))
		return -ENOMEM;
	th = (struct tcphdr *)(skb->data + tcp_at);
	memcpy(&old, skb->data + mss_at, sizeof(old));
	memcpy(skb->data + mss_at, &new, sizeof(new));
	inet_proto_csum_replace2(&th->check, skb, old, new, false);
	return 0;
}

/* The first bytes of a packet, from its IPv6 header on: in place, or copied where they are scattered. */
const u8 *pdmv2_skb_head(const struct sk_buff *skb, u32 want, u8 *buffer, u32 *len)
{
	u32 have = skb_headlen(skb);

	*len = min(want, skb->len);
	if (have >= *len)
		return skb->data;
	if (skb_copy_bits(skb, 0, buffer, *len))
		*len = 0;
	return buffer;
}

u32 pdmv2_skb_len(const struct sk_buff *skb)
{
	return skb->len;
}

/*
 * Whether what stands behind can move towards the end, where what stands in front cannot move towards the head. Datagrams
 * come with just the room that the link's header takes, and allocators round up: to move a datagram costs less than a new
 * head, into which all of it is copied as well.
 */
static bool pdmv2_has_tailroom(const struct sk_buff *skb, u32 growth)
{
	return skb_tailroom(skb) >= growth && !skb_cloned(skb) && !skb->encapsulation;
}

int pdmv2_skb_make_room(struct sk_buff *skb, u32 growth, u32 at)
{
	u32 link = LL_RESERVED_SPACE(dst_dev(skb_dst(skb)));
	int err;

	if (!pskb_may_pull(skb, at))
		return -ENOMEM;
	if (skb_headroom(skb) < growth + link && pdmv2_has_tailroom(skb, growth))
		return PDMV2_ROOM_BEHIND;
	err = skb_cow_head(skb, growth + link);
	return err ? err : PDMV2_ROOM_IN_FRONT;
}

/* Uses the room that pdmv2_skb_make_room() made. The transport header stays where the upper layer is. */
void pdmv2_skb_insert(struct sk_buff *skb, int room, u32 at, u32 replaces, const u8 *header, u32 len, u32 named_at)
{
	u32 growth = len - replaces;
	struct ipv6hdr *hdr;
	u32 payload;

	if (room == PDMV2_ROOM_IN_FRONT) {
		skb_push(skb, growth);
		memmove(skb->data, skb->data + growth, at);
		skb_reset_network_header(skb);
	} else {
		skb_put(skb, growth);
		memmove(skb->data + at + len, skb->data + at + replaces, skb->len - at - len);
		skb->transport_header += growth;
		if (skb->ip_summed == CHECKSUM_PARTIAL)
			skb->csum_start += growth;
	}
	memcpy(skb->data + at, header, len);
	if (!replaces)
		skb->data[named_at] = IPPROTO_DSTOPTS;
	hdr = ipv6_hdr(skb);
	payload = skb->len - sizeof(*hdr);
	hdr->payload_len = payload <= IPV6_MAXPLEN ? htons(payload) : 0;
}

static DEFINE_PER_CPU(u64[PDMV2_COUNTERS], pdmv2_module_counters);

int pdmv2_counters_init(struct pdmv2_counters *counters, unsigned int n)
{
	counters->own = __alloc_percpu_gfp(n * sizeof(u64), __alignof__(u64), GFP_KERNEL_ACCOUNT);
	return counters->own ? 0 : -ENOMEM;
}

void pdmv2_count_one(const struct pdmv2_counters *counter)
{
	this_cpu_inc(counter->own[0]);
}

void pdmv2_counters_free(struct pdmv2_counters *counters)
{
	free_percpu(counters->own);
}

void pdmv2_count(const struct pdmv2_counters *counters, unsigned int index, u64 n)
{
	this_cpu_add(counters->own[index], n);
	this_cpu_add(pdmv2_module_counters[index], n);
}

u64 pdmv2_counted(const struct pdmv2_counters *counters, unsigned int index)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(*per_cpu_ptr(counters->own + index, cpu));
	return sum;
}

u64 pdmv2_module_counted(unsigned int index)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(per_cpu(pdmv2_module_counters[index], cpu));
	return sum;
}

void pdmv2_lock_init(spinlock_t *lock, enum pdmv2_lock_class class)
{
	static struct lock_class_key keys[PDMV2_LOCK_CLASSES];

	spin_lock_init(lock);
	lockdep_set_class(lock, &keys[class]);
}

void pdmv2_lock(spinlock_t *lock)
{
	spin_lock_bh(lock);
}

void pdmv2_unlock(spinlock_t *lock)
{
	spin_unlock_bh(lock);
}

void *pdmv2_net_private(struct net *net, unsigned int id)
{
	return net_generic(net, id);
}

struct net *pdmv2_skb_sk_net(struct sk_buff *skb)
{
	return sock_net(skb->sk);
}

void pdmv2_for_each_net(void (*what)(struct net *net, void *context), void *context)
{
	struct net *net;

	down_read(&net_rwsem);
	for_each_net(net)
		what(net, context);
	up_read(&net_rwsem);
}

static void pdmv2_periodic_run(struct work_struct *work)
{
	struct pdmv2_periodic *p = container_of(to_delayed_work(work), struct pdmv2_periodic, work);

	p->run(p->context);
	schedule_delayed_work(&p->work, msecs_to_jiffies(p->period_ms));
}

void pdmv2_periodic_start(struct pdmv2_periodic *p, void (*run)(void *), void *context, unsigned int period_ms)
{
	p->run = run;
	p->context = context;
	p->period_ms = period_ms;
	INIT_DELAYED_WORK(&p->work, pdmv2_periodic_run);
	schedule_delayed_work(&p->work, msecs_to_jiffies(period_ms));
}

void pdmv2_periodic_stop(struct pdmv2_periodic *p)
{
	cancel_delayed_work_sync(&p->work);
}

int pdmv2_register_fork_notifier(struct notifier_block *block)
{
	return register_random_vmfork_notifier(block);
}

void pdmv2_unregister_fork_notifier(struct notifier_block *block)
{
	unregister_random_vmfork_notifier(block);
}

int pdmv2_register_sleep_notifier(struct notifier_block *block)
{
	return register_pm_notifier(block);
}

void pdmv2_unregister_sleep_notifier(struct notifier_block *block)
{
	unregister_pm_notifier(block);
}

struct sk_buff *pdmv2_genl_new(size_t room, bool atomic)
{
	return genlmsg_new(max(room, GENLMSG_DEFAULT_SIZE), atomic ? GFP_ATOMIC : GFP_KERNEL);
}

void pdmv2_genl_end(struct sk_buff *skb, void *header)
{
	genlmsg_end(skb, header);
}

void pdmv2_genl_cancel(struct sk_buff *skb, void *header)
{
	genlmsg_cancel(skb, header);
}

void pdmv2_genl_free(struct sk_buff *skb)
{
	nlmsg_free(skb);
}

int pdmv2_genl_multicast(const struct genl_family *family, struct net *net, struct sk_buff *skb, unsigned int group)
{
	return genlmsg_multicast_netns(family, net, skb, 0, group, GFP_ATOMIC);
}

bool pdmv2_genl_has_listeners(const struct genl_family *family, struct net *net, unsigned int group)
{
	return genl_has_listeners(family, net, group);
}

int pdmv2_genl_reply(struct sk_buff *skb, struct genl_info *info)
{
	return genlmsg_reply(skb, info);
}

struct net *pdmv2_genl_net(const struct genl_info *info)
{
	return genl_info_net(info);
}

struct nlattr *pdmv2_nest_start(struct sk_buff *skb, int attribute)
{
	return nla_nest_start(skb, attribute);
}

void pdmv2_nest_end(struct sk_buff *skb, struct nlattr *nest)
{
	nla_nest_end(skb, nest);
}

void pdmv2_nest_cancel(struct sk_buff *skb, struct nlattr *nest)
{
	nla_nest_cancel(skb, nest);
}

void pdmv2_genl_payload(const struct genl_info *info, const u8 **data, u32 *len)
{
	*data = genlmsg_data(info->genlhdr);
	*len = genlmsg_len(info->genlhdr);
}

void pdmv2_dump_ids(const struct netlink_callback *cb, u32 *portid, u32 *seq)
{
	*portid = NETLINK_CB(cb->skb).portid;
	*seq = cb->nlh->nlmsg_seq;
}

void pdmv2_extack(struct genl_info *info, const u8 *attribute, const char *message)
{
	if (!info->extack)
		return;
	if (message)
		NL_SET_ERR_MSG_FMT(info->extack, "%s", message);
	if (attribute)
		info->extack->bad_attr = (const struct nlattr *)attribute;
}

void pdmv2_sysfs_attribute(struct kobj_attribute *attribute, const char *name,
			   ssize_t (*show)(struct kobject *, struct kobj_attribute *, char *))
{
	sysfs_attr_init(&attribute->attr);
	attribute->attr.name = name;
	attribute->attr.mode = 0444;
	attribute->show = show;
}

struct kobject *pdmv2_kernel_kobj(void)
{
	return kernel_kobj;
}

int pdmv2_sysfs_create(struct kobject *dir, struct kobj_attribute *attribute)
{
	return sysfs_create_file(dir, &attribute->attr);
}

int pdmv2_max_dst_opts(struct net *net)
{
	return READ_ONCE(net->ipv6.sysctl.max_dst_opts_cnt);
}

void pdmv2_free_unread(void *memory)
{
	kfree_rcu_mightsleep(memory);
}

void pdmv2_cond_resched(void)
{
	cond_resched();
}

bool pdmv2_log_allowed(void)
{
	static DEFINE_RATELIMIT_STATE(limit, 5 * HZ, 5);

	return __ratelimit(&limit);
}

bool pdmv2_net_is_initial(const struct net *net)
{
	return net->user_ns == &init_user_ns;
}

/* Of a namespace that is not the initial user namespace's; its user namespace keeps all above it. */
u32 pdmv2_net_user(const struct net *net)
{
	const struct user_namespace *ns = net->user_ns;

	while (ns->parent && ns->parent != &init_user_ns)
		ns = ns->parent;
	return from_kuid(&init_user_ns, ns->owner);
}

static unsigned long pdmv2_memory_max;

static int pdmv2_memory_max_set(const char *value, const struct kernel_param *param)
{
	/* The file's owner, uid 0, may have another user namespace for its own. */
	if (!capable(CAP_NET_ADMIN))
		return -EPERM;
	return param_set_ulong(value, param);
}

static const struct kernel_param_ops pdmv2_memory_max_ops = {
	.set = pdmv2_memory_max_set,
	.get = param_get_ulong,
};

module_param_cb(memory_max, &pdmv2_memory_max_ops, &pdmv2_memory_max, 0644);
MODULE_PARM_DESC(memory_max, "Bytes the flows of all network namespaces may take (default: a 16th of the memory)");

void pdmv2_memory_init(void)
{
	if (!pdmv2_memory_max)
		pdmv2_memory_max = (totalram_pages() / 16) << PAGE_SHIFT;
}

u64 pdmv2_memory_max_now(void)
{
	return READ_ONCE(pdmv2_memory_max);
}
