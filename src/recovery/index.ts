/** Giving an identity back to its owner by trustees. What it guarantees and what not: `README.md` beside this file. */
export { type DeskParts, RecoveryDesk, type Source, type Taken, type TrusteeSigner } from './desk.ts'
export { RECOVERY_PROTOCOL, RecoveryLinks, type RecoveryLinksParts } from './protocol.ts'
export { createRequest, type RequestOptions, recoveryIdOf, recoveryWords } from './request.ts'
export type { RecoveryNews, RecoveryStage, RecoveryStatus } from './types.ts'
export { messageText, parseMessageText } from './wire.ts'
