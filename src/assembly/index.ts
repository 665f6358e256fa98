export { createAssembly } from './assembly.ts'
export type { Assembly, AssemblyComponents, AssemblyConfig } from './types.ts'
