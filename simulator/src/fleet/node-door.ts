import { EnrolmentService, NodeService } from "@berth/proto";
import type { DescService } from "@bufbuild/protobuf";
import type { ConnectRouter, ServiceImpl } from "@connectrpc/connect";

/** What a cluster-agent serves to its nodes, for calls within this process. */
export interface NodeDoor {
  readonly nodes: ServiceImpl<typeof NodeService>;
  readonly enrolment: ServiceImpl<typeof EnrolmentService>;
}

/**
 * Takes the handlers out of a cluster-agent's own routes. They are called as they are, without the codec,
 * the framing and the streams of a transport: those would be most of what a fleet of 10,000 nodes does.
 * Throws when the routes lack one of the two services.
 */
export function nodeDoor(routes: (router: ConnectRouter) => void): NodeDoor {
  const book = new Map<string, Partial<ServiceImpl<DescService>>>();
  const router: ConnectRouter = {
    handlers: [],
    service(service, implementation) {
      book.set(service.typeName, implementation);
      return router;
    },
    rpc(method) {
      throw new Error(`the route ${method.name} is of no service`);
    },
  };
  routes(router);
  const find = <S extends DescService>(service: S): ServiceImpl<S> => {
    const implementation = book.get(service.typeName);
    if (implementation === undefined) throw new Error(`no routes of ${service.typeName}`);
    return implementation as ServiceImpl<S>;
  };
  return { nodes: find(NodeService), enrolment: find(EnrolmentService) };
}
