export interface GrpcClient {
  call(value: unknown): Promise<unknown>
  items(count: number, item: unknown): Promise<number>
  close(): void
}
export function grpcClient(port: number, certificate: Uint8Array): GrpcClient
export interface NatsClient {
  call(value: unknown): Promise<unknown>
  close(): Promise<void>
}
export function natsClient(port: number): Promise<NatsClient>
