import type { ControlApi } from '../api.ts'
import type { RoutesOf } from '../route.ts'
import { nodeRoutes } from './node.ts'

/** Every route of the control interface. A new group is a file, a line here and one in `api.ts`. */
export const controlRoutes: RoutesOf<ControlApi> = { ...nodeRoutes }
