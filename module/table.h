/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A hash table of locked nodes, found without a lock: the kernel's rhashtable, whose inline functions bindgen cannot see.
 *
 * A node is found in an RCU read-side section, locked, and looked at only if it is not dead. Its memory outlives the
 * section in which it was found; what it holds is dropped by the caller when it is removed.
 */
#ifndef PDMV2_TABLE_H
#define PDMV2_TABLE_H

#include <linux/rhashtable.h>
#include <linux/spinlock.h>

#define PDMV2_KEY_WORDS 5

struct pdmv2_node {
	struct rhash_head head;
	spinlock_t lock;
	bool dead;
	u64 key[PDMV2_KEY_WORDS];
};

/* A node that was taken out: where it held something, there is now what it takes to free it. */
struct pdmv2_dead_node {
	struct pdmv2_node node;
	struct rcu_head rcu;
};

struct pdmv2_table {
	struct rhashtable ht;
};

struct pdmv2_walk {
	struct rhashtable_iter iter;
	struct pdmv2_table *table;
	bool again;	/* the node that came last comes once more */
};

int pdmv2_table_init(struct pdmv2_table *table);
/* Nobody else uses the table any more. */
void pdmv2_table_destroy(struct pdmv2_table *table, void (*release)(struct pdmv2_node *node));
u32 pdmv2_table_len(const struct pdmv2_table *table);

void pdmv2_node_init(struct pdmv2_node *node, const u64 *key);
const u64 *pdmv2_node_key(const struct pdmv2_node *node);
void pdmv2_node_unlock(struct pdmv2_node *node);

/* The node of a key, locked; NULL if there is none. In an RCU read-side section. */
struct pdmv2_node *pdmv2_table_find(struct pdmv2_table *table, const u64 *key);
/* Adds a node, locked; -EEXIST if there is one of its key. */
int pdmv2_table_insert(struct pdmv2_table *table, struct pdmv2_node *node);
/* Takes a locked node out, unlocks it, and frees its memory once nobody can see it. */
void pdmv2_table_remove(struct pdmv2_table *table, struct pdmv2_node *node);

/* Begins to walk all nodes; process context. */
void pdmv2_walk_enter(struct pdmv2_walk *walk, struct pdmv2_table *table);
void pdmv2_walk_exit(struct pdmv2_walk *walk);
/*
 * Calls `visit` with up to `most` nodes, each locked, until it returns false; that node comes once more when the walk goes
 * on. `visit` unlocks or removes the node. False once every node was visited; then the walk begins anew. While the table
 * is resized, a node may come twice.
 */
bool pdmv2_walk_some(struct pdmv2_walk *walk, u32 most, bool (*visit)(struct pdmv2_node *node, void *context),
		     void *context);
/* Likewise with the nodes of `buckets` buckets from the one a number falls on; in an RCU read-side section. */
void pdmv2_table_sample(struct pdmv2_table *table, u32 from, u32 buckets,
			bool (*visit)(struct pdmv2_node *node, void *context), void *context);

#endif
