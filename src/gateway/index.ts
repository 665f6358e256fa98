export type { GatewayLimits } from './limits.ts'
export { createRawDoor, type RawDoor, type RawDoorOptions } from './raw-door.ts'
export { createGateway, type Gateway } from './server.ts'
export type { DoorOptions, GatewayOptions } from './types.ts'
