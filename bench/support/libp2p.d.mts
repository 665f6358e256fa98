/** As much of js-libp2p as is used here. */
export interface Node {
  getMultiaddrs(): { toString(): string }[]
}
export interface Connection {
  newStream(protocol: string): Promise<import('./flows.ts').YamuxStream>
  close(): Promise<void>
}
export const BULK: string
export function startNode(listen?: string[]): Promise<Node>
export function connect(node: Node, address: string): Promise<Connection>
export function serveBulk(node: Node): Promise<void>
