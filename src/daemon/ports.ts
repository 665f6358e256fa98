/** The port of links, TCP and UDP (founding text of the network layer). */
export const PEER_PORT = 4433
