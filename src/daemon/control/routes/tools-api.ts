import type { OperationDescription, OperationSummary } from '../../../call/types.ts'
import type { Json } from '../route.ts'

/** On whose behalf: an API key's, or the owner's own without one. */
export interface AsCaller {
  readonly key?: string
}

/** Operations as a program on this machine sees them that speaks the Model Context Protocol with its own client (`kith mcp`). */
export interface ToolsApi {
  'POST /v1/tools/list': Json<AsCaller, { readonly operations: readonly OperationSummary[] }>
  'POST /v1/tools/describe': Json<AsCaller & { readonly path: string }, { readonly operation: OperationDescription | null }>
  'POST /v1/tools/call': Json<AsCaller & { readonly path: string; readonly input?: unknown }, { readonly value: unknown }>
}
