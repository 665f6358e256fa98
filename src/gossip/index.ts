export { FOUNDING_TOPICS, RESERVED_TOPICS } from './founding-topics.ts'
export { createGossip, type GossipComponents } from './gossip.ts'
export type { GossipMesh } from './neighbours.ts'
export type { Gossip, GossipEntry, PublishOptions, SubscribeOptions, TopicAccess, TopicOptions, TopicStatus } from './types.ts'
