import type { ConstraintSet } from '../../src/mesh/types.ts'

/** The least of everything, for tests whose subject is not limits. */
export const ONE_OF_EACH: ConstraintSet = {
  messagesPerSecond: 1,
  burst: 1,
  links: 1,
  streams: 1,
  bufferBytes: 1,
  topics: 1,
  subscriptions: 1,
  messageBytes: 1,
  pullBytes: 1,
  outstandingRequests: 1,
}
