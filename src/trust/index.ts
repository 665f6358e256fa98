export type { AttestationOutcome, AttestOptions, EdgeFilter, EdgeOptions, RevokeOptions, SetOptions, TrustGraph, TrustStatus } from './api.ts'
export { ATTESTATION_RETAIN_MS, ATTESTATION_TOPIC } from './attestations.ts'
export {
  createEndorsement,
  createObservation,
  createReference,
  EVIDENCE,
  type EvidenceReference,
  type EvidenceSigner,
  METRIC,
} from './edge-evidence.ts'
export type { EdgeLimits } from './edge-graph.ts'
export { EVIDENCE_TOPIC, MAX_PROOF_BYTES } from './evidence.ts'
export { type EvidenceComponents, EvidenceDesk, type EvidenceOutcome } from './evidence-desk.ts'
export { MAX_PATHS } from './explain.ts'
export { type OracleComponents, TrustOracle } from './oracle.ts'
export { CLASS_FLOOR, classOfScore, type ScoreWeights } from './score.ts'
export { openStanding } from './standing.ts'
export type { Decided, ProvedAgainst, Standing, StandingComponents } from './standing-types.ts'
export { openTrustGraph } from './trust-graph.ts'
export { DEFAULT_LIMITS, DEFAULT_WEIGHTS, type TrustComponents, type TrustOptions } from './trust-options.ts'
export type { EdgeEvidence, GraphKind, StandingStatus, TrustEdge, TrustExplanation, TrustPath, TrustScore, TrustStatement, TrustView } from './types.ts'
export { STANDING_RULES, type StandingOverrides, type StandingRules, type ViolationKind } from './violations.ts'
