/** Calls: operations that machines offer each other. */
export type {
  Callee,
  CallOptions,
  IncomingCall,
  JsonSchema,
  OperationAccess,
  OperationDescription,
  OperationKind,
  OperationSummary,
  StreamItem,
} from './types.ts'
