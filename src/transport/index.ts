/** The ways a link can be carried, and the multiplexer they share. What they are: `README.md` beside this file. */
export { createMemoryNetwork, createMemoryTransport, type MemoryNetwork, type MemoryTransportOptions } from './memory.ts'
export { multiplex } from './mux/connection.ts'
export { createQuicTransport, type QuicOptions, quicAvailability } from './quic/index.ts'
export { createTcpTransport, type TcpTransportOptions } from './tcp.ts'
export type {
  Channel,
  ChannelBinding,
  CloseInfo,
  Connection,
  DialOptions,
  LinkStream,
  Listener,
  ListenOptions,
  MultiplexOptions,
  Path,
  Source,
  Transport,
} from './types.ts'
