// SPDX-License-Identifier: GPL-2.0-only
#include "table.h"
#include "helpers.h"

#include <linux/once.h>
#include <linux/random.h>

/* The same for every table: who does not know it cannot aim at a bucket. One word for each of a key's, and one to spare. */
static u64 pdmv2_table_key[PDMV2_KEY_WORDS + 1] __read_mostly;

/*
 * NH (RFC 4418 section 5.2) over words of 64 bits: whoever does not know the key finds two 5-tuples of one sum with a
 * chance of 2^-64, whatever he chooses them by; what is left of the sum here makes it about that of any two numbers of 32
 * bits. It is a fifth of SipHash's work, and runs twice for each packet. The seed, which the table changes when chains grow
 * long, only decides which bucket a sum falls into; the multipliers, those of MurmurHash3's finalizer, spread every bit of
 * it over the bucket's number.
 */
static __always_inline u32 pdmv2_key_hash(const void *data, u32 len, u32 seed)
{
	const u64 *word = data, *key = pdmv2_table_key;
	unsigned __int128 sum = 0;
	unsigned int i;
	u64 hash;

	for (i = 0; i + 1 < PDMV2_KEY_WORDS; i += 2)
		sum += (unsigned __int128)(word[i] + key[i]) * (word[i + 1] + key[i + 1]);
	if (i < PDMV2_KEY_WORDS)
		sum += (unsigned __int128)(word[i] + key[i]) * key[i + 1];
	hash = (u64)sum ^ (u64)(sum >> 64) ^ seed;
	hash ^= hash >> 33;
	hash *= 0xff51afd7ed558ccdULL;
	hash ^= hash >> 33;
	hash *= 0xc4ceb9fe1a85ec53ULL;
	return hash >> 32;
}

/* 0 where they are the same. */
static __always_inline int pdmv2_key_compare(struct rhashtable_compare_arg *arg, const void *object)
{
	const u64 *a = arg->key, *b = ((const struct pdmv2_node *)object)->key;

	return ((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) | (a[4] ^ b[4])) != 0;
}

static const struct rhashtable_params pdmv2_table_params = {
	.key_len = PDMV2_KEY_WORDS * sizeof(u64),
	.key_offset = offsetof(struct pdmv2_node, key),
	.head_offset = offsetof(struct pdmv2_node, head),
	.hashfn = pdmv2_key_hash,
	.obj_cmpfn = pdmv2_key_compare,
	.automatic_shrinking = true,
};

int pdmv2_table_init(struct pdmv2_table *table)
{
	get_random_once(pdmv2_table_key, sizeof(pdmv2_table_key));
	return rhashtable_init(&table->ht, &pdmv2_table_params);
}

static void pdmv2_table_release(void *object, void *release)
{
	((void (*)(struct pdmv2_node *))release)(object);
	kfree(object);
}

void pdmv2_table_destroy(struct pdmv2_table *table, void (*release)(struct pdmv2_node *node))
{
	rhashtable_free_and_destroy(&table->ht, pdmv2_table_release, release);
}

u32 pdmv2_table_len(const struct pdmv2_table *table)
{
	return atomic_read(&table->ht.nelems);
}

void pdmv2_node_init(struct pdmv2_node *node, const u64 *key)
{
	pdmv2_lock_init(&node->lock, PDMV2_LOCK_FLOW);
	node->dead = false;
	memcpy(node->key, key, sizeof(node->key));
}

const u64 *pdmv2_node_key(const struct pdmv2_node *node)
{
	return node->key;
}

void pdmv2_node_unlock(struct pdmv2_node *node)
{
	spin_unlock_bh(&node->lock);
}

static bool pdmv2_node_lock(struct pdmv2_node *node)
{
	spin_lock_bh(&node->lock);
	if (likely(!node->dead))
		return true;
	spin_unlock_bh(&node->lock);
	return false;
}

struct pdmv2_node *pdmv2_table_find(struct pdmv2_table *table, const u64 *key)
{
	struct pdmv2_node *node = rhashtable_lookup(&table->ht, key, pdmv2_table_params);

	return node && pdmv2_node_lock(node) ? node : NULL;
}

int pdmv2_table_insert(struct pdmv2_table *table, struct pdmv2_node *node)
{
	int err;

	/* Nobody has seen the lock yet: it is taken before anybody can. */
	spin_lock_bh(&node->lock);
	err = rhashtable_lookup_insert_fast(&table->ht, &node->head, pdmv2_table_params);
	if (err)
		spin_unlock_bh(&node->lock);
	return err;
}

void pdmv2_table_remove(struct pdmv2_table *table, struct pdmv2_node *node)
{
	node->dead = true;
	rhashtable_remove_fast(&table->ht, &node->head, pdmv2_table_params);
	spin_unlock_bh(&node->lock);
	kfree_rcu((struct pdmv2_dead_node *)node, rcu);
}

void pdmv2_walk_enter(struct pdmv2_walk *walk, struct pdmv2_table *table)
{
	rhashtable_walk_enter(&table->ht, &walk->iter);
	walk->table = table;
	walk->again = false;
}

void pdmv2_walk_exit(struct pdmv2_walk *walk)
{
	rhashtable_walk_exit(&walk->iter);
}

bool pdmv2_walk_some(struct pdmv2_walk *walk, u32 most, bool (*visit)(struct pdmv2_node *node, void *context),
		     void *context)
{
	bool more = true;

	rhashtable_walk_start(&walk->iter);
	while (more && most--) {
		struct pdmv2_node *node = walk->again ? rhashtable_walk_peek(&walk->iter) :
							rhashtable_walk_next(&walk->iter);

		walk->again = false;
		/* The table was resized: the walk goes on from the start of the new one. */
		if (IS_ERR(node))
			continue;
		more = node;
		if (node && pdmv2_node_lock(node) && !visit(node, context)) {
			walk->again = true;
			break;
		}
	}
	rhashtable_walk_stop(&walk->iter);
	if (!more) {
		rhashtable_walk_exit(&walk->iter);
		rhashtable_walk_enter(&walk->table->ht, &walk->iter);
	}
	return more;
}

void pdmv2_table_sample(struct pdmv2_table *table, u32 from, u32 buckets,
			bool (*visit)(struct pdmv2_node *node, void *context), void *context)
{
	struct bucket_table *tbl = rht_dereference_rcu(table->ht.tbl, &table->ht);
	struct rhash_head *pos;
	struct pdmv2_node *node;

	for (; buckets; buckets--, from++) {
		u32 bucket = from & (tbl->size - 1);

		rht_for_each_entry_rcu(node, pos, tbl, bucket, head) {
			if (pdmv2_node_lock(node) && !visit(node, context))
				return;
		}
	}
}
