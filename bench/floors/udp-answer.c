/*
 * Answers every question that comes to a UDP port of 127.0.0.1 with itself, as an answer without records: what a name server
 * cannot be faster than. Prints its port. Argument: none.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>

int main(void) {
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in from;
	socklen_t length = sizeof(address);
	unsigned char message[4096];
	int server = socket(AF_INET, SOCK_DGRAM, 0);

	if (server < 0 || bind(server, (struct sockaddr *)&address, length) < 0) return 1;
	if (getsockname(server, (struct sockaddr *)&address, &length) < 0) return 1;
	printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);
	for (;;) {
		socklen_t size = sizeof(from);
		ssize_t count = recvfrom(server, message, sizeof(message), 0, (struct sockaddr *)&from, &size);
		if (count < 12) continue;
		/* RFC 1035, 4.1.1: the answer's bit, "recursion available", no error. */
		message[2] |= 0x80;
		message[3] = 0x80;
		sendto(server, message, count, 0, (struct sockaddr *)&from, size);
	}
}
