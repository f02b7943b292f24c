/* What `ka attach` puts on a cgroup (v2): keepalive for each TCP connection that is made or accepted in it.
 *
 * Two programs. `ka_decide` (sock_ops) is called before the SYN goes out and when a connection was accepted, and sets
 * what is to be set. `ka_hold` (cgroup/setsockopt) is attached with --force alone, and keeps the program from changing
 * it afterwards. What is to be set is worked out by crates/policy and stands in a map: nothing is parsed here.
 *
 * The structs are those of crates/ka/src/cgroup/layout.rs. scripts/build-bpf makes keepalive.bpf.o of this file; no
 * BTF is in it, and none is needed of the kernel. Kernel 6.1 or newer: bpf_getsockopt knows no keepalive option before.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* The numbers of the system, the same on all architectures that have a BPF JIT but mips and parisc. */
#define SOL_SOCKET 1
#define SO_KEEPALIVE 9
#define IPPROTO_TCP 6
#define TCP_KEEPIDLE 4
#define TCP_KEEPINTVL 5
#define TCP_KEEPCNT 6
#define TCP_USER_TIMEOUT 18
#define AF_INET 2
#define AF_INET6 10

#define MAX_RULES 64
#define FIELDS 4

/* Idle (s), interval (s), count, user timeout (ms). 0 leaves a field alone. */
struct values {
	__u32 field[FIELDS];
};

enum family { ANY = 0, V4 = 4, V6 = 6 };

/* One rule. IPv4 addresses are mapped (::ffff:a.b.c.d); addresses and masks are in network byte order. */
struct rule {
	__u32 network[4];
	__u32 mask[4];
	__u16 low_port, high_port;
	__u16 family;
	__u16 off;
	struct values want;
};

/* All that is to be known about a network namespace. */
struct settings {
	struct values defaults; /* what an untouched socket shows there */
	struct values plain;    /* where no rule matches */
	__u32 force;
	__u32 rules;
	/* One more than there can be: without CAP_PERFMON the verifier wants the pointer behind the last one inside too. */
	struct rule rule[MAX_RULES + 1];
};

/* What became of the sockets, in the order of layout.rs. */
enum counter { SET, ALREADY, OWN, OFF, INNER, REFUSED, UNREADABLE, HELD, COUNTERS };

/* What we have set in a socket, 0 for what we have not. */
struct mark {
	struct values value;
	__u32 keepalive;
};

struct map {
	__u32 type, key_size, value_size, max_entries, flags;
};

/* By the cookie of the network namespace; 0 is for those that have no entry, which have Linux's own defaults. */
struct map ka_settings SEC("maps") = {
	.type = BPF_MAP_TYPE_HASH,
	.key_size = sizeof(__u64),
	.value_size = sizeof(struct settings),
	.max_entries = 4096,
	.flags = BPF_F_NO_PREALLOC,
};

struct map ka_counters SEC("maps") = {
	.type = BPF_MAP_TYPE_PERCPU_ARRAY,
	.key_size = sizeof(__u32),
	.value_size = sizeof(__u64),
	.max_entries = COUNTERS,
};

/* For each socket, where it has to be known what is ours: to hold it, or to take it back when the socket is connected once
 * more and another rule is for it. It goes with the socket, or with the last of the programs. */
struct map ka_marks SEC("maps") = {
	.type = BPF_MAP_TYPE_SK_STORAGE,
	.key_size = sizeof(int),
	.value_size = sizeof(struct mark),
	.flags = BPF_F_NO_PREALLOC,
};

/* Left in `reply`, which the kernel does not look at for the two events, for the programs of outer cgroups: they run
 * after those of inner ones. */
#define DECIDED 0x6b61

static __always_inline void count(enum counter which)
{
	__u32 key = which;
	__u64 *counter = bpf_map_lookup_elem(&ka_counters, &key);

	if (counter)
		++*counter;
}

static __always_inline struct settings *settings_of(__u64 namespace)
{
	struct settings *found = bpf_map_lookup_elem(&ka_settings, &namespace);

	if (!found) {
		namespace = 0;
		found = bpf_map_lookup_elem(&ka_settings, &namespace);
	}
	return found;
}

static __always_inline int option_of(int field)
{
	switch (field) {
	case 0:
		return TCP_KEEPIDLE;
	case 1:
		return TCP_KEEPINTVL;
	case 2:
		return TCP_KEEPCNT;
	default:
		return TCP_USER_TIMEOUT;
	}
}

/* The next rule. A constant is added to the pointer: the verifier takes no number that differs from turn to turn of a
 * loop, unless the loader has CAP_PERFMON. The compiler would make one if it saw what is added to what. */
#define NEXT(rule)                                 \
	({                                         \
		(rule)++;                          \
		asm volatile("" : "+r"(rule));     \
	})

/* The first rule for the connection, or null. */
static __always_inline struct rule *find(struct settings *settings, const __u32 peer[4], __u16 family, __u16 port)
{
	struct rule *rule = settings->rule;

	for (__u32 i = 0; i < MAX_RULES && i < settings->rules; i++, NEXT(rule)) {
		if (port < rule->low_port || port > rule->high_port)
			continue;
		if (rule->family != ANY && rule->family != family)
			continue;
		if ((peer[0] & rule->mask[0]) == rule->network[0] && (peer[1] & rule->mask[1]) == rule->network[1] &&
		    (peer[2] & rule->mask[2]) == rule->network[2] && (peer[3] & rule->mask[3]) == rule->network[3])
			return rule;
	}
	return 0;
}

static __always_inline __u32 value_of(const struct values *values, int field)
{
	switch (field) {
	case 0:
		return values->field[0];
	case 1:
		return values->field[1];
	case 2:
		return values->field[2];
	default:
		return values->field[3];
	}
}

/* Puts a field back that shows what an earlier attempt to connect, to somebody else, has set. */
static __always_inline void put_back(struct bpf_sock_ops *ctx, struct settings *settings, struct mark *mark, int i)
{
	__u32 standard = settings->defaults.field[i], now;

	if (mark->value.field[i] && !bpf_getsockopt(ctx, IPPROTO_TCP, option_of(i), &now, sizeof(now)) &&
	    now == mark->value.field[i])
		bpf_setsockopt(ctx, IPPROTO_TCP, option_of(i), &standard, sizeof(standard));
}

/* Brings a socket to what is wanted. What shows neither the default nor what we have set is the program's own and stays,
 * unless forced. That a program has chosen the default itself, or to have keepalive off, cannot be seen. With `off` only
 * what is ours is taken back. `made` receives what is ours afterwards. */
static __always_inline enum counter apply(struct bpf_sock_ops *ctx, struct settings *settings, const struct values *want,
					  int off, struct mark *mark, struct mark *made)
{
	/* Whether all is as wanted, and whether that tells the socket from one that nobody has set. */
	int all = 1, differs = 0;
	int wrote = 0, own = 0, refused = 0;
	__u32 on = 0;

#pragma unroll
	for (int i = 0; i < FIELDS; i++) {
		__u32 wanted = want->field[i], standard = settings->defaults.field[i], now;
		int ours;

		if (!wanted) {
			if (mark)
				put_back(ctx, settings, mark, i);
			continue;
		}
		if (bpf_getsockopt(ctx, IPPROTO_TCP, option_of(i), &now, sizeof(now)))
			return UNREADABLE;
		ours = settings->force || (mark && mark->value.field[i] == now);
		if (now == wanted) {
			differs |= now != standard;
			if (ours)
				made->value.field[i] = wanted;
			continue;
		}
		all = 0;
		if (now != standard && !ours) {
			own = 1;
		} else if (bpf_setsockopt(ctx, IPPROTO_TCP, option_of(i), &wanted, sizeof(wanted))) {
			refused = 1;
		} else {
			made->value.field[i] = wanted;
			wrote = 1;
		}
	}
	if (off) {
		if (mark && mark->keepalive)
			bpf_setsockopt(ctx, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
		return OFF;
	}
	if (bpf_getsockopt(ctx, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)))
		return UNREADABLE;
	made->keepalive = settings->force || (mark && mark->keepalive);
	/* Inherited from a listener that we have set, set by an earlier attempt to connect, or by the library. */
	if (on && all && differs)
		return ALREADY;
	if (on && own && !wrote)
		return OWN;
	/* Last, so that the timer starts with the values. */
	on = 1;
	if (bpf_setsockopt(ctx, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)))
		refused = 1;
	else
		wrote = made->keepalive = 1;
	return refused && !wrote ? REFUSED : SET;
}

/* What is wanted for the connection, or null if a rule says off. */
static __always_inline struct values *wanted(struct bpf_sock_ops *ctx, struct settings *settings, __u16 port)
{
	__u32 peer[4] = { 0, 0, bpf_htonl(0xffff), 0 };
	__u16 family = V4;
	struct rule *rule;

	if (ctx->family == AF_INET6) {
		peer[0] = ctx->remote_ip6[0];
		peer[1] = ctx->remote_ip6[1];
		peer[2] = ctx->remote_ip6[2];
		peer[3] = ctx->remote_ip6[3];
		if (peer[0] || peer[1] || peer[2] != bpf_htonl(0xffff))
			family = V6;
	} else {
		peer[3] = ctx->remote_ip4;
	}
	rule = find(settings, peer, family, port);
	if (!rule)
		return &settings->plain;
	return rule->off ? 0 : &rule->want;
}

static __always_inline enum counter decide(struct bpf_sock_ops *ctx, __u16 port)
{
	struct settings *settings = settings_of(bpf_get_netns_cookie(ctx));
	struct mark *mark = 0, made = {};
	struct values *wants, want = {};
	enum counter result;
	struct bpf_sock *sk;

	if (!settings)
		return UNREADABLE;
	wants = settings->rules ? wanted(ctx, settings, port) : &settings->plain;
	if (wants)
		want = *wants;
	/* Elsewhere an earlier attempt to connect was for the same values, and nobody holds them. */
	sk = settings->rules || settings->force ? ctx->sk : 0;
	if (sk)
		mark = bpf_sk_storage_get(&ka_marks, sk, 0, 0);
	result = apply(ctx, settings, &want, !wants, mark, &made);
	if (sk && !mark && wants)
		mark = bpf_sk_storage_get(&ka_marks, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (mark)
		*mark = made;
	return result;
}

SEC("sockops") int ka_decide(struct bpf_sock_ops *ctx)
{
	__u16 port;

	/* The service's port: the peer's where we connect, ours where we accept. */
	if (ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB)
		port = bpf_ntohl(ctx->remote_port);
	else if (ctx->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		port = ctx->local_port;
	else
		return 1;
	if (ctx->reply == DECIDED) {
		count(INNER);
		return 1;
	}
	count(decide(ctx, port));
	ctx->reply = DECIDED;
	return 1;
}

/* A call that goes to the kernel. Of a long value only a part is handed to us, and the kernel would refuse the call: with
 * this it takes the caller's own. */
static __always_inline int leave(struct bpf_sockopt *ctx)
{
	if (ctx->optlen > 4096)
		ctx->optlen = 0;
	return 1;
}

/* The program's call succeeds and changes nothing, if the option is one that we have set. A call that the kernel would
 * refuse goes to the kernel. */
SEC("cgroup/setsockopt") int ka_hold(struct bpf_sockopt *ctx)
{
	int *value = ctx->optval;
	struct mark *mark;
	int field = -1;
	int max = 0;

	if (ctx->level == IPPROTO_TCP) {
		switch (ctx->optname) {
		case TCP_KEEPIDLE:
			field = 0, max = 32767;
			break;
		case TCP_KEEPINTVL:
			field = 1, max = 32767;
			break;
		case TCP_KEEPCNT:
			field = 2, max = 127;
			break;
		case TCP_USER_TIMEOUT:
			field = 3, max = 0x7fffffff;
			break;
		default:
			return leave(ctx);
		}
	} else if (ctx->level != SOL_SOCKET || ctx->optname != SO_KEEPALIVE) {
		return leave(ctx);
	}
	if (!ctx->sk || ctx->sk->protocol != IPPROTO_TCP || ctx->optlen < (int)sizeof(int))
		return leave(ctx);
	if ((void *)(value + 1) > ctx->optval_end)
		return leave(ctx);
	if (field >= 0 && (*value < (field == 3 ? 0 : 1) || *value > max))
		return leave(ctx);
	mark = bpf_sk_storage_get(&ka_marks, ctx->sk, 0, 0);
	if (!mark || !(field < 0 ? mark->keepalive : value_of(&mark->value, field)))
		return leave(ctx);
	count(HELD);
	ctx->optlen = -1;
	return 1;
}

/* None of the helpers asks for the GPL. */
char _license[] SEC("license") = "MIT OR Apache-2.0";
