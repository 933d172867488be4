/* A server and a client of their own: over IPv4, IPv6 and a Unix socket, in this order, one exchange each. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static void serve(int listener)
{
	char text[32];
	int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	check(peer >= 0, "accept4");
	/* One short message a segment: it arrives whole. */
	ssize_t length = recv(peer, text, sizeof(text), 0);

	check(length == 5, "recv");
	check(send(peer, text, length, MSG_NOSIGNAL) == length, "send");
	close(peer);
	exit(0);
}

static void exchange(int family, struct sockaddr *address, socklen_t length)
{
	char text[32];
	int status;
	int listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	check(listener >= 0, "socket");
	if (bind(listener, address, length) != 0) {
		/* A machine may have no IPv6 loopback address. */
		check(family == AF_INET6 && errno == EADDRNOTAVAIL, "bind");
		close(listener);
		return;
	}
	check(listen(listener, 1) == 0, "listen");
	socklen_t bound_length = length;

	check(getsockname(listener, address, &bound_length) == 0, "getsockname");
	pid_t server = fork();

	check(server >= 0, "fork");
	if (server == 0)
		serve(listener);
	close(listener);
	int client = socket(family, SOCK_STREAM, 0);

	check(client >= 0, "socket");
	check(connect(client, address, length) == 0, "connect");
	check(sendto(client, "hello", 5, 0, NULL, 0) == 5, "sendto");
	check(recvfrom(client, text, sizeof(text), 0, NULL, NULL) == 5, "recvfrom");
	check(recvfrom(client, text, sizeof(text), 0, NULL, NULL) == 0, "end of stream");
	check(shutdown(client, SHUT_RDWR) == 0 || 1, "shutdown");
	close(client);
	check(waitpid(server, &status, 0) == server && status == 0, "server");
}

int main(void)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "pair.sock"};

	exchange(AF_INET, (struct sockaddr *)&v4, sizeof(v4));
	exchange(AF_INET6, (struct sockaddr *)&v6, sizeof(v6));
	exchange(AF_UNIX, (struct sockaddr *)&un, sizeof(un));
	check(unlink("pair.sock") == 0, "unlink");
	return 0;
}
