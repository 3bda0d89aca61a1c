// Paint first.
requestAnimationFrame(() => setTimeout(() => document.head.append(document.getElementById("later").content)));
