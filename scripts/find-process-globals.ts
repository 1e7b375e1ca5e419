import ts from "typescript";

/**
 * Lines of a TypeScript source that use the global `process` (also as `globalThis.process`
 * and `globalThis["process"]`). A
 * parameter or variable of that name around the use, and an import of it, make it something else:
 * imports are dependency-cruiser's to judge.
 */
export function findProcessGlobals(fileName: string, text: string): readonly number[] {
  const source = ts.createSourceFile(fileName, text, ts.ScriptTarget.Latest, true);
  const lines: number[] = [];
  const visit = (node: ts.Node): void => {
    if (isGlobalUse(node)) {
      lines.push(source.getLineAndCharacterOfPosition(node.getStart()).line + 1);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return lines;
}

function isGlobalUse(node: ts.Node): boolean {
  if (ts.isStringLiteral(node) && node.text === "process") {
    const access = node.parent;
    return ts.isElementAccessExpression(access) && access.expression.getText() === "globalThis";
  }
  if (!ts.isIdentifier(node) || node.text !== "process") return false;
  const { parent } = node;
  if (ts.isPropertyAccessExpression(parent) && parent.name === node) {
    return parent.expression.getText() === "globalThis";
  }
  return isReference(node, parent) && !isDeclaredAround(node);
}

/** Whether the name stands for a value, not for a key, a declaration, an import or a type's member. */
function isReference(node: ts.Identifier, parent: ts.Node): boolean {
  if (ts.isShorthandPropertyAssignment(parent)) return true;
  if (ts.isBindingElement(parent)) return parent.initializer === node;
  const named = parent as ts.Node & { readonly name?: ts.Node };
  if (named.name === node) return false;
  if (ts.isImportClause(parent) || ts.isImportSpecifier(parent)) return false;
  return !ts.isQualifiedName(parent) && !ts.isExportSpecifier(parent);
}

function isDeclaredAround(use: ts.Identifier): boolean {
  for (let node: ts.Node = use.parent; node !== undefined; node = node.parent) {
    if (ts.isFunctionLike(node) && node.parameters.some(({ name }) => declares(name))) return true;
    if ((ts.isBlock(node) || ts.isSourceFile(node)) && node.statements.some(declaresIn))
      return true;
  }
  return false;
}

function declaresIn(statement: ts.Statement): boolean {
  if (ts.isImportDeclaration(statement)) {
    const clause = statement.importClause;
    const bindings = clause?.namedBindings;
    return (
      clause?.name?.text === "process" ||
      (bindings !== undefined && ts.isNamespaceImport(bindings) && declares(bindings.name)) ||
      (bindings !== undefined &&
        ts.isNamedImports(bindings) &&
        bindings.elements.some(({ name }) => declares(name)))
    );
  }
  if (!ts.isVariableStatement(statement)) return false;
  return statement.declarationList.declarations.some(({ name }) => declares(name));
}

function declares(name: ts.BindingName): boolean {
  if (ts.isIdentifier(name)) return name.text === "process";
  return name.elements.some((element) => ts.isBindingElement(element) && declares(element.name));
}
