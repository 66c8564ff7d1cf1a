/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * exchange CLIENT-NS SERVER-NS CLIENT-ADDRESS SERVER-ADDRESS FLOWS ROUNDS REPETITIONS
 *
 * UDP requests and responses of 64 bytes between two network namespaces, in one process, so that nothing but the packets
 * is counted. Prints one line per repetition: the nanoseconds that ROUNDS requests with their responses took.
 *
 * With FLOWS 0 the sockets are connected. Else the last 32 bits of the server's address run from 1 to FLOWS (the server
 * must have them all): that many flows, taken in turn, by a stride that meets each of them once in FLOWS rounds.
 *
 * Each repetition stands between two marks, which an emulator can see: `nopl MARK(%rax)` does nothing else.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SIZE		64
#define CLIENT_PORT	40000
#define SERVER_PORT	7000
/* Any prime that FLOWS is no multiple of; neighbours in the count are no neighbours in time. */
#define STRIDE		7919

/* profile.c knows both. */
#define MARK_BEGIN() __asm__ volatile(".byte 0x0f, 0x1f, 0x80; .long 0x32564450" ::: "memory")
#define MARK_END() __asm__ volatile(".byte 0x0f, 0x1f, 0x80; .long 0x32564451" ::: "memory")

static int udp_socket(const char *ns, const struct sockaddr_in6 *address)
{
	const int on = 1;
	int fd = open(ns, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET))
		err(1, "%s", ns);
	close(fd);
	fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)) ||
	    /* The server's many addresses are a route's, not an interface's. */
	    setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof(on)) ||
	    bind(fd, (const struct sockaddr *)address, sizeof(*address)))
		err(1, "a socket in %s", ns);
	return fd;
}

static struct sockaddr_in6 address_of(const char *text, uint16_t port)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	if (inet_pton(AF_INET6, text, &address.sin6_addr) != 1)
		errx(1, "%s is no IPv6 address", text);
	return address;
}

static void expect(const char *what, ssize_t done)
{
	if (done < 0)
		err(1, "%s", what);
	if (done != SIZE)
		errx(1, "%s: %zd bytes", what, done);
}

static void exchange_connected(int client, int server)
{
	char data[SIZE] = "request";

	expect("client sends", send(client, data, SIZE, 0));
	expect("server receives", recv(server, data, SIZE, 0));
	expect("server sends", send(server, data, SIZE, 0));
	expect("client receives", recv(client, data, SIZE, 0));
}

/* The server answers from the address that it was asked at. */
static void exchange_with(int client, int server, const struct sockaddr_in6 *to)
{
	char data[SIZE] = "request", control[CMSG_SPACE(sizeof(struct in6_pktinfo))];
	struct sockaddr_in6 from;
	struct iovec part = { data, SIZE };
	struct msghdr message = {
		.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &part, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};

	expect("client sends", sendto(client, data, SIZE, 0, (const struct sockaddr *)to, sizeof(*to)));
	expect("server receives", recvmsg(server, &message, 0));
	((struct in6_pktinfo *)CMSG_DATA(CMSG_FIRSTHDR(&message)))->ipi6_ifindex = 0;
	expect("server sends", sendmsg(server, &message, 0));
	expect("client receives", recv(client, data, SIZE, 0));
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int main(int argc, char **argv)
{
	unsigned long flows, rounds, repetitions, at = 0;
	struct sockaddr_in6 client_address, server_address, any = { .sin6_family = AF_INET6, .sin6_port = htons(SERVER_PORT) };
	int client, server;

	if (argc != 8)
		errx(2, "CLIENT-NS SERVER-NS CLIENT-ADDRESS SERVER-ADDRESS FLOWS ROUNDS REPETITIONS");
	client_address = address_of(argv[3], CLIENT_PORT);
	server_address = address_of(argv[4], SERVER_PORT);
	flows = strtoul(argv[5], NULL, 10);
	rounds = strtoul(argv[6], NULL, 10);
	repetitions = strtoul(argv[7], NULL, 10);
	client = udp_socket(argv[1], &client_address);
	server = udp_socket(argv[2], flows ? &any : &server_address);
	if (!flows && (connect(client, (struct sockaddr *)&server_address, sizeof(server_address)) ||
		       connect(server, (struct sockaddr *)&client_address, sizeof(client_address))))
		err(1, "connect");

	for (unsigned long repetition = 0; repetition < repetitions; repetition++) {
		uint64_t start = now();

		MARK_BEGIN();
		for (unsigned long round = 0; round < rounds; round++) {
			if (flows) {
				uint32_t last = htonl(1 + at);

				memcpy(&server_address.sin6_addr.s6_addr[12], &last, sizeof(last));
				at = (at + STRIDE) % flows;
				exchange_with(client, server, &server_address);
			} else {
				exchange_connected(client, server);
			}
		}
		MARK_END();
		printf("%llu\n", (unsigned long long)(now() - start));
	}
	return 0;
}
